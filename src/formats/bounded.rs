//! Output that ends somewhere.

use std::io::{Error, ErrorKind, Result, Write};

/// Takes so many bytes and no more.
pub(super) struct Bounded {
    out: Vec<u8>,
    most: usize,
}

impl Bounded {
    /// Takes `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { out: Vec::new(), most }
    }

    /// What was written.
    pub fn into_inner(self) -> Vec<u8> {
        self.out
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        if self.out.len() + bytes.len() > self.most {
            return Err(Error::from(ErrorKind::FileTooLarge));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
