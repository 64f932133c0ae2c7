//! A connection to the owner of the group.

use std::io::{self, ErrorKind};
use std::net::{SocketAddrV6, TcpStream};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Longest time for it.
const DIAL_WAIT: Duration = Duration::from_secs(10);

/// For so long an interface may have no address to connect from: the kernel looks for twins of it first.
const ADDRESS_WAIT: Duration = Duration::from_secs(3);

/// Between two tries: the kernel gives no sign.
const ADDRESS_LOOK: Duration = Duration::from_millis(20);

/// The owner's address from its text form; the number of the interface belongs to this side alone.
pub(crate) fn owner(endpoint: &str, interface: u32) -> Option<SocketAddrV6> {
    let mut owner: SocketAddrV6 = endpoint.parse().ok()?;
    if !owner.ip().is_unicast_link_local() || owner.port() == 0 {
        return None;
    }
    owner.set_scope_id(interface);
    Some(owner)
}

pub(crate) async fn dial(owner: SocketAddrV6) -> io::Result<TcpStream> {
    let began = Instant::now();
    loop {
        let connecting = tokio::net::TcpStream::connect(owner);
        match timeout_at(began + DIAL_WAIT, connecting).await {
            Ok(Ok(socket)) => {
                let socket = socket.into_std()?;
                socket.set_nonblocking(false)?;
                return Ok(socket);
            }
            Ok(Err(error))
                if error.kind() == ErrorKind::AddrNotAvailable && began.elapsed() < ADDRESS_WAIT =>
            {
                sleep(ADDRESS_LOOK).await;
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(ErrorKind::TimedOut.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_neighbour_is_dialled_and_on_the_joined_interface() {
        let parsed = owner("[fe80::1]:7", 5).map(|owner| (owner.scope_id(), owner.port()));
        assert_eq!(parsed, Some((5, 7)));
        for other in [
            "[2001:db8::1]:7",
            "[::1]:7",
            "[fe80::1]:0",
            "[fe80::1]",
            "192.168.49.1:7",
            "x",
            "",
        ] {
            assert_eq!(owner(other, 5), None, "{other}");
        }
    }
}
