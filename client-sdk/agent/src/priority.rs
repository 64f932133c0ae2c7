//! What the agent does for itself gives way to everything else on the laptop.

use std::sync::Arc;

use thread_priority::ThreadPriority;
use thread_priority::unix::{
    NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// Sets the priority of the thread that calls it, and of those that it starts later.
pub(crate) type Prepare = Arc<dyn Fn() + Send + Sync>;

/// Idle CPU and IO priority, on Linux `SCHED_IDLE` and the idle class. Where the system refuses, the work is done at
/// normal priority.
pub(crate) fn idle() -> Prepare {
    Arc::new(|| {
        let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let lowest = ThreadPriority::Min;
        let _ = set_thread_priority_and_policy(thread_native_id(), lowest, policy);
        // 0 is the calling thread, not its process.
        let this_thread = ioprio::Target::Process(ioprio::Pid::from_raw(0));
        let _ = ioprio::set_priority(this_thread, ioprio::Priority::new(ioprio::Class::Idle));
    })
}

/// As the process is: somebody waits for it.
pub(crate) fn normal() -> Prepare {
    Arc::new(|| {})
}
