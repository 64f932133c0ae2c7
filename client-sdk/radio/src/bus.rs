//! What every service on a bus has in common: deadlines, proxies, and why one does not do as it is asked.

use std::time::Duration;

use zbus::proxy::{Builder, CacheProperties, Defaults};
use zbus::{Connection, OwnedObjectPath, Proxy, connection};

use crate::way::Failure;

/// Longest wait for an answer on a bus.
pub(crate) const CALL_WAIT: Duration = Duration::from_secs(5);

pub(crate) async fn connect(builder: connection::Builder<'_>) -> zbus::Result<Connection> {
    builder.method_timeout(CALL_WAIT).build().await
}

/// The service itself.
pub(crate) async fn service<T>(bus: &Connection) -> zbus::Result<T>
where
    T: From<Proxy<'static>> + Defaults,
{
    let proxy = Builder::new(bus).cache_properties(CacheProperties::No);
    proxy.build().await
}

/// An object of a service. No property is read ahead: wpa_supplicant can't tell all of a group it is a client of, and
/// then tells none.
pub(crate) async fn object<T>(bus: &Connection, path: OwnedObjectPath) -> zbus::Result<T>
where
    T: From<Proxy<'static>> + Defaults,
{
    let proxy = Builder::new(bus).path(path);
    proxy.cache_properties(CacheProperties::No).build().await
}

/// What keeps a service from what it was asked for.
pub(crate) fn failure(error: &zbus::Error) -> Failure {
    use zbus::fdo;
    match error {
        zbus::Error::FDO(error) => match **error {
            fdo::Error::AccessDenied(_) | fdo::Error::AuthFailed(_) => Failure::Denied,
            fdo::Error::ServiceUnknown(_)
            | fdo::Error::NameHasNoOwner(_)
            | fdo::Error::SpawnServiceNotFound(_) => Failure::Missing,
            fdo::Error::NoReply(_) | fdo::Error::Timeout(_) | fdo::Error::TimedOut(_) => Failure::Silent,
            _ => Failure::Unable,
        },
        zbus::Error::InputOutput(error) if error.kind() == std::io::ErrorKind::TimedOut => Failure::Silent,
        // A service's own errors, and a bus that is gone.
        _ => Failure::Unable,
    }
}
