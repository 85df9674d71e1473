//! Tells systemd how the service does (`sd_notify(3)`): datagrams to the socket in `NOTIFY_SOCKET`.

use super::Keeper;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A service that was started by systemd with `Type=notify`.
pub(crate) struct Systemd {
    socket: UnixDatagram,
    ready: bool,
}

impl Systemd {
    /// `None` where nobody wants to be told.
    ///
    /// # Errors
    /// A sentence, when the socket cannot be had.
    pub(crate) fn from_environment() -> Result<Option<Self>, String> {
        match std::env::var_os("NOTIFY_SOCKET") {
            Some(address) if !address.is_empty() => Self::connect(&address)
                .map(Some)
                .map_err(|e| format!("systemd cannot be told anything (NOTIFY_SOCKET): {e}")),
            _ => Ok(None),
        }
    }

    /// A path, or an abstract name behind `@`.
    fn connect(address: &OsStr) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // Rather not told than sorted late.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            ready: false,
        })
    }

    fn tell(&self, state: &str) {
        // If systemd does not listen for longer than it waits, it restarts the service.
        let _ = self.socket.send(state.as_bytes());
    }
}

impl Keeper for Systemd {
    fn well(&mut self) -> Result<(), String> {
        if !std::mem::replace(&mut self.ready, true) {
            self.tell("READY=1\nSTATUS=sorting");
        }
        self.tell("WATCHDOG=1");
        Ok(())
    }

    fn ending(&mut self) {
        self.tell("STOPPING=1\nSTATUS=the outputs are off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 256];
        let next = |_| socket.recv(&mut buffer).ok().map(|n| buffer[..n].to_vec());
        let all = std::iter::repeat(()).map_while(next);
        all.map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }

    fn check(address: &str, socket: &UnixDatagram) {
        let mut systemd = Systemd::connect(OsStr::new(address)).unwrap();
        assert!(heard(socket).is_empty(), "it is not ready before it sorts");
        systemd.well().unwrap();
        systemd.well().unwrap();
        systemd.ending();
        let expect = [
            "READY=1\nSTATUS=sorting",
            "WATCHDOG=1",
            "WATCHDOG=1",
            "STOPPING=1\nSTATUS=the outputs are off",
        ];
        assert_eq!(heard(socket), expect);
    }

    #[test]
    fn states_go_to_a_socket_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        check(path.to_str().unwrap(), &socket);
    }

    #[test]
    fn states_go_to_an_abstract_socket() {
        let name = format!("sortline-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        check(&format!("@{name}"), &socket);
    }

    #[test]
    fn a_full_socket_holds_nothing_up_and_one_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        assert!(Systemd::connect(path.as_os_str()).is_err());
        let _never_read = UnixDatagram::bind(&path).unwrap();
        let mut systemd = Systemd::connect(path.as_os_str()).unwrap();
        for _ in 0..10_000 {
            systemd.well().unwrap();
        }
    }
}
