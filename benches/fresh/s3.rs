//! A server that speaks S3: `moto_server`, whose path is in `SHIPLAP_TEST_S3` (scripts/test installs it).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::Result;

/// The bucket that caches are in.
pub const BUCKET: &str = "fresh";

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that is gone with this program.
pub struct Server {
    pub address: String,
    child: Child,
}

impl Server {
    /// Starts one, with a bucket.
    pub fn start() -> Result<Self> {
        let program = std::env::var_os("SHIPLAP_TEST_S3").ok_or("SHIPLAP_TEST_S3 names no S3 server")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Self { address: format!("127.0.0.1:{port}"), child };
        let began = Instant::now();
        while TcpStream::connect(&server.address).is_err() {
            if began.elapsed() > PATIENCE {
                return Err("the S3 server does not start".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut stream = TcpStream::connect(&server.address)?;
        write!(stream, "PUT /{BUCKET} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        match answer.contains(" 200 ") {
            true => Ok(server),
            false => Err(format!("the S3 server makes no bucket: {answer}").into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
