//! A real S3 server: `moto_server`, whose path is in `SHIPLAP_TEST_S3` (scripts/test installs it).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that is gone after the test.
pub struct Server {
    pub port: u16,
    child: Child,
}

/// Starts one. None where there is none.
pub fn server() -> Option<Server> {
    let Some(program) = std::env::var_os("SHIPLAP_TEST_S3") else {
        eprintln!("skipped: SHIPLAP_TEST_S3 names no S3 server (scripts/test installs one)");
        return None;
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program);
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdin(Stdio::null());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let server = Server { port, child };
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the S3 server does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(server)
}

impl Server {
    pub fn make_bucket(&self, name: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!("PUT /{name} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(" 200 "), "{answer}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What leads to an S3 server at a port of this machine.
pub fn settings(port: u16) -> Vec<(&'static str, String)> {
    let endpoint = format!("http://127.0.0.1:{port}");
    let key = "key".to_owned();
    vec![("AWS_ENDPOINT_URL", endpoint), ("AWS_ACCESS_KEY_ID", key.clone()), ("AWS_SECRET_ACCESS_KEY", key)]
}
