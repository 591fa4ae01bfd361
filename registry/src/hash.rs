//! SHA-256 on the way: of what is read, of what is written.
//!
//! By `ring`, which TLS needs anyway: without SHA instructions in the processor it is twice as fast as `sha2`, and the DiffID of a base image is
//! half a gigabyte to hash.

use std::io::{self, Read, Write};

use ring::digest::{Context, SHA256};
use shiplap_cache::Digest;

/// Hashes what passes through.
pub(crate) struct Hashed<T> {
    inner: T,
    context: Context,
}

impl<T> Hashed<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, context: Context::new(&SHA256) }
    }

    /// What was wrapped, and the digest of what passed.
    pub(crate) fn finish(self) -> (T, Digest) {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.context.finish().as_ref());
        (self.inner, Digest::from_bytes(bytes))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.context.update(&buf[..n]);
        Ok(n)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.context.update(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_and_writing_give_the_digest_of_the_bytes() {
        let mut writer = Hashed::new(Vec::new());
        writer.write_all(b"hel").unwrap();
        writer.write_all(b"lo").unwrap();
        let (bytes, digest) = writer.finish();
        assert_eq!((&bytes[..], digest), (&b"hello"[..], Digest::of(b"hello")));
        let mut reader = Hashed::new(&b"hello"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.finish().1, Digest::of(b"hello"));
    }
}
