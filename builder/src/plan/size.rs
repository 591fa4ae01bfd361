use std::str::FromStr;

/// A number of bytes, written as Docker has sizes: `64m`, `1.5GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// A size that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ByteSizeError(String);

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        crate::dockerfile::units::bytes(text).map(Self).map_err(|fault| ByteSizeError(fault.message))
    }
}
