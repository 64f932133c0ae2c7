//! Byte streams: pieces wait, leave at the pace of the link, and arrive in order.
//!
//! Each direction is a lane: `waiting` (undrained, at most the sender's window) -> the air of the group, one piece at
//! a time -> `under_way` -> the receiver. A paced receiver that does not take its bytes stops the lane.
//! Invariant: pieces are handed on, never copied; a cut slices one.

use std::time::Duration;

use berth_radio::{
    Event, STREAM_PIECE_SIZE_BYTES_MAX, STREAM_WINDOW_BYTES, STREAM_WINDOW_PIECES, StreamId, Time,
};
use bytes::Bytes;

use super::agenda::Action;
use super::lane::{Side, Stream, StreamKey};
use super::port::PortId;
use super::{Air, Cut};
use crate::Profile;
use crate::trace::STREAM_LINE_BYTES;

impl Air {
    pub(super) fn write(&mut self, port: PortId, id: StreamId, piece: Bytes) {
        let Some((key, side)) = self.port(port).and_then(|it| it.streams.get(&id)).copied() else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let receiver_open = side.other().of_ref(&stream.ends).open;
        let lane = side.of_mut(&mut stream.lanes);
        if piece.is_empty() || lane.closing || !receiver_open {
            return;
        }
        let too_long = piece.len() > STREAM_PIECE_SIZE_BYTES_MAX;
        let over = lane.waiting_bytes + piece.len() > STREAM_WINDOW_BYTES
            || lane.waiting.len() >= STREAM_WINDOW_PIECES;
        if too_long || over {
            self.note(port, format_args!("stream {} overrun", id.0));
            return self.end_stream(key);
        }
        lane.waiting_bytes += piece.len();
        lane.waiting.push_back(piece);
        self.plan_leave(key, side);
    }

    /// Puts the next piece of a lane on the air, if there is one and nothing stands in its way.
    fn plan_leave(&mut self, key: StreamKey, from: Side) {
        let Some(stream) = self.streams.get(&key) else {
            return;
        };
        let lane = from.of_ref(&stream.lanes);
        let size_bytes = lane.waiting.front().map_or(0, Bytes::len);
        if size_bytes == 0 || stream.apart || lane.leave_planned || lane.window_full() {
            return;
        }
        let (sender, receiver) = (
            from.of_ref(&stream.ends).port,
            from.other().of_ref(&stream.ends).port,
        );
        let (group, next_stall) = (stream.group, lane.next_stall);
        let profile = self.profile_between(sender, receiver);
        let late = self.stream_chance.happens(self.faults.stall_ppm);
        let late_by = self.stream_chance.within(self.faults.stall_max);
        let free_at = self
            .groups
            .get(&group)
            .map_or(self.now, |it| *from.of_ref(&it.free_at));
        let mut starts = self.now.max(free_at);
        if late {
            starts += late_by;
        }
        let (stalled, next_stall) = self.draw_stall(&profile, starts, next_stall);
        if stalled > Duration::ZERO {
            starts += stalled;
            self.note(sender, format_args!("the link stalls"));
        }
        let leaves_at = starts.saturating_add(profile.airtime(size_bytes));
        if let Some(group) = self.groups.get_mut(&group) {
            *from.of_mut(&mut group.free_at) = leaves_at;
        }
        if let Some(stream) = self.streams.get_mut(&key) {
            let lane = from.of_mut(&mut stream.lanes);
            lane.leave_planned = true;
            lane.next_stall = next_stall;
        }
        self.schedule_at(leaves_at, sender, Action::Leaves { stream: key, from });
    }

    /// How long the profile's link stands still now, and when it next does.
    fn draw_stall(&mut self, profile: &Profile, at: Time, next: Option<Time>) -> (Duration, Option<Time>) {
        let Some(stall) = profile.stall else {
            return (Duration::ZERO, None);
        };
        match next {
            Some(next) if at < next => (Duration::ZERO, Some(next)),
            Some(_) | None => {
                let gap = self.stream_chance.between(stall.gap_min, stall.gap_max);
                let length = next.map_or(Duration::ZERO, |_| stall.length);
                (length, Some(at.saturating_add(length + gap)))
            }
        }
    }

    pub(super) fn piece_leaves(&mut self, key: StreamKey, from: Side) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        from.of_mut(&mut stream.lanes).leave_planned = false;
        if stream.apart {
            return; // it stays at the front until they are near again
        }
        let (sender, receiver) = (from.of_ref(&stream.ends), from.other().of_ref(&stream.ends));
        let (port, id, open, receiver) = (sender.port, sender.id, sender.open, receiver.port);
        let profile = self.profile_between(port, receiver);
        let jitter = self.stream_chance.within(profile.jitter);
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let lane = from.of_mut(&mut stream.lanes);
        let Some(piece) = lane.waiting.pop_front() else {
            return;
        };
        let bytes = piece.len();
        lane.waiting_bytes = lane.waiting_bytes.saturating_sub(bytes);
        lane.untaken_bytes += bytes;
        lane.untaken_pieces += 1;
        let last = lane.under_way.back().map_or(Time::ZERO, |(at, _)| *at);
        lane.under_way
            .push_back((last.max(self.now + profile.latency + jitter), piece));
        if open {
            self.emit(port, Event::Drained { stream: id, bytes });
        }
        self.plan_arrival(key, from);
        self.plan_leave(key, from);
        self.finish_close(key, from);
    }

    fn plan_arrival(&mut self, key: StreamKey, from: Side) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let receiver = from.other().of_ref(&stream.ends).port;
        let lane = from.of_mut(&mut stream.lanes);
        let Some((at, _)) = lane.under_way.front() else {
            return;
        };
        if lane.arrival_planned || lane.held || stream.apart {
            return;
        }
        let at = self.now.max(*at);
        lane.arrival_planned = true;
        self.schedule_at(at, receiver, Action::Arrives { stream: key, from });
    }

    pub(super) fn pieces_arrive(&mut self, key: StreamKey, from: Side) {
        if let Some(stream) = self.streams.get_mut(&key) {
            from.of_mut(&mut stream.lanes).arrival_planned = false;
        }
        while let Some(piece) = self.take_arrived(key, from) {
            if !self.deliver(key, from, piece) {
                return;
            }
        }
        self.plan_arrival(key, from);
        self.plan_leave(key, from);
        self.finish_close(key, from);
    }

    fn take_arrived(&mut self, key: StreamKey, from: Side) -> Option<Bytes> {
        let stream = self.streams.get_mut(&key).filter(|stream| !stream.apart)?;
        let lane = from.of_mut(&mut stream.lanes);
        let due = !lane.held && lane.under_way.front().is_some_and(|(at, _)| *at <= self.now);
        due.then(|| lane.under_way.pop_front().map(|(_, piece)| piece))
            .flatten()
    }

    /// One piece reaches its receiver, or a part of it if the stream is cut there. `false`: the stream was cut.
    fn deliver(&mut self, key: StreamKey, from: Side, piece: Bytes) -> bool {
        let Some(stream) = self.streams.get(&key) else {
            return false;
        };
        let sender = from.of_ref(&stream.ends).port;
        let group = stream.group;
        let cut_here = self
            .stream_chance
            .happens_in(self.faults.stream_cut_ppm_per_mib, piece.len());
        let group_ends = self
            .stream_chance
            .happens_in(self.faults.group_lost_ppm_per_mib, piece.len());
        let cut_in = self.stream_chance.below(piece.len() as u64);
        let asked = self.count_towards_cut(sender, piece.len() as u64);
        let keeps = match (asked, cut_here || group_ends) {
            (Some((keeps, _)), false) => keeps,
            (Some((keeps, _)), true) => keeps.min(cut_in),
            (None, true) => cut_in,
            (None, false) => piece.len() as u64,
        };
        let keeps = usize::try_from(keeps).unwrap_or(usize::MAX).min(piece.len());
        if keeps > 0 {
            self.hand_over(key, from, piece.slice(..keeps));
        }
        match asked {
            Some((_, cut)) => {
                self.note(
                    sender,
                    format_args!("{cut:?} is cut after {keeps} bytes of this piece"),
                );
                if cut == Cut::Range {
                    self.put_back(key, from, piece.slice(keeps..), keeps > 0);
                }
                self.cut_now(sender, key, cut);
            }
            None if group_ends => {
                self.note(sender, format_args!("the group ends by itself"));
                self.end_group(group);
            }
            None if cut_here => {
                self.note(sender, format_args!("the stream ends by itself"));
                self.end_stream(key);
            }
            None => return true,
        }
        false
    }

    fn hand_over(&mut self, key: StreamKey, from: Side, piece: Bytes) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let receiver = from.other().of_ref(&stream.ends);
        let (port, id, open) = (receiver.port, receiver.id, receiver.open);
        let sender = from.of_ref(&stream.ends).port;
        let lane = from.of_mut(&mut stream.lanes);
        let paced = self.ports.get(port.index()).is_some_and(|it| it.paced);
        if !paced || !open {
            lane.untaken_bytes = lane.untaken_bytes.saturating_sub(piece.len());
            lane.untaken_pieces = lane.untaken_pieces.saturating_sub(1);
        }
        if !open {
            return;
        }
        lane.carried_bytes += piece.len() as u64;
        if self.trace.is_on() {
            lane.sum.update(&piece);
            if lane.carried_bytes - lane.traced_bytes >= STREAM_LINE_BYTES {
                self.trace_lane(key, from);
            }
        }
        debug_assert_ne!(sender, port, "a station does not dial itself");
        self.emit(port, Event::Read { stream: id, piece });
    }

    /// The rest of a piece that was cut when the range ended: it arrives first when they are near again.
    fn put_back(&mut self, key: StreamKey, from: Side, rest: Bytes, was_split: bool) {
        let now = self.now;
        if let Some(stream) = self.streams.get_mut(&key).filter(|_| !rest.is_empty()) {
            let lane = from.of_mut(&mut stream.lanes);
            lane.untaken_pieces += usize::from(was_split);
            lane.under_way.push_front((now, rest));
        }
    }

    fn trace_lane(&mut self, key: StreamKey, from: Side) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let end = from.of_ref(&stream.ends);
        let lane = from.of_mut(&mut stream.lanes);
        if lane.carried_bytes == lane.traced_bytes {
            return;
        }
        lane.traced_bytes = lane.carried_bytes;
        let sum = lane.sum.clone().finalize();
        if let Some(port) = self.ports.get(end.port.index()) {
            let what = format_args!(
                "stream {} carried {} bytes {sum:08x}",
                end.id.0, lane.carried_bytes
            );
            self.trace.line(self.now, &port.label, '=', what);
        }
    }

    /// A paced driver has handed `piece_bytes` of one [`Event::Read`] to its machine.
    pub fn taken(&mut self, now: Time, port: PortId, id: StreamId, piece_bytes: usize) {
        self.now = self.now.max(now);
        let Some((key, side)) = self.port(port).and_then(|it| it.streams.get(&id)).copied() else {
            return;
        };
        let from = side.other();
        if let Some(stream) = self.streams.get_mut(&key) {
            let lane = from.of_mut(&mut stream.lanes);
            lane.untaken_bytes = lane.untaken_bytes.saturating_sub(piece_bytes);
            lane.untaken_pieces = lane.untaken_pieces.saturating_sub(1);
        }
        self.plan_leave(key, from);
    }

    pub(super) fn close_stream(&mut self, port: PortId, id: StreamId) {
        let Some((key, side)) = self.port(port).and_then(|it| it.streams.get(&id)).copied() else {
            return;
        };
        if let Some(stream) = self.streams.get_mut(&key) {
            let lane = side.of_mut(&mut stream.lanes);
            lane.closing = true;
            lane.held = false;
        }
        self.plan_arrival(key, side);
        self.finish_close(key, side);
    }

    /// The receiver `port` wants no bytes, or wants them again. What is held back fills the window of the lane.
    pub(super) fn hold(&mut self, port: PortId, id: StreamId, held: bool) {
        let Some((key, side)) = self.port(port).and_then(|it| it.streams.get(&id)).copied() else {
            return;
        };
        if let Some(stream) = self.streams.get_mut(&key) {
            let lane = side.other().of_mut(&mut stream.lanes);
            lane.held = held && !lane.closing;
        }
        self.plan_arrival(key, side.other());
    }

    /// Both ends close when all that a closing sender wrote has arrived.
    fn finish_close(&mut self, key: StreamKey, from: Side) {
        let Some(stream) = self.streams.get(&key) else {
            return;
        };
        let lane = from.of_ref(&stream.lanes);
        if lane.closing && lane.waiting.is_empty() && lane.under_way.is_empty() {
            self.close_end(key, from);
            self.close_end(key, from.other());
        }
    }

    /// Ends a stream for one side; it is gone when both have ended.
    pub(super) fn close_end(&mut self, key: StreamKey, side: Side) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let end = side.of_mut(&mut stream.ends);
        let (port, id, was_open) = (end.port, end.id, std::mem::take(&mut end.open));
        if stream.ends.iter().all(|end| !end.open) {
            self.trace_lane(key, Side::Station);
            self.trace_lane(key, Side::Owner);
            self.streams.remove(&key);
        }
        let known = self
            .port_mut(port)
            .is_some_and(|it| it.streams.remove(&id).is_some());
        if was_open && known {
            self.emit(port, Event::StreamClosed { stream: id });
        }
    }

    /// Ends a stream for both sides at once; what was under way is lost.
    pub(super) fn end_stream(&mut self, key: StreamKey) {
        self.close_end(key, Side::Station);
        self.close_end(key, Side::Owner);
    }

    pub(super) fn end_streams_where(&mut self, which: impl Fn(&Stream) -> bool) {
        let keys: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, it)| which(it))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.end_stream(key);
        }
    }

    /// They are near again: what stood still goes on.
    pub(super) fn resume_stream(&mut self, key: StreamKey) {
        for from in [Side::Station, Side::Owner] {
            self.plan_arrival(key, from);
            self.plan_leave(key, from);
        }
    }
}
