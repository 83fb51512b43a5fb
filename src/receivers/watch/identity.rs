//! How a file is known again, whatever it is called by now.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest::{Context, SHA256};

/// One state of one file: another name makes no other, another size or time does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// Nanoseconds since the Unix epoch.
    pub(super) modified: i64,
}

/// A file as it was seen.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
}

impl Identity {
    pub(super) fn of(about: &Metadata) -> Self {
        let nanos = about.mtime().saturating_mul(1_000_000_000);
        Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: nanos.saturating_add(about.mtime_nsec()),
        }
    }

    /// When it was written last.
    pub(super) fn modified_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(u64::try_from(self.modified).unwrap_or_default())
    }

    /// What it is known by wherever it is read again.
    pub(super) fn mark(&self) -> u64 {
        let id = self.profile_id(usize::MAX, 0);
        let (head, _) = id.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        u64::from_be_bytes(*head)
    }

    /// The id of one sample type of one profile in it: the same whenever it is read. A device may have another number after the
    /// machine has started again.
    pub(super) fn profile_id(&self, profile: usize, sample_type: usize) -> [u8; 16] {
        let mut context = Context::new(&SHA256);
        context.update(b"flamegate file");
        for number in [
            self.inode,
            self.size,
            self.modified as u64,
            profile as u64,
            sample_type as u64,
        ] {
            context.update(&number.to_be_bytes());
        }
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        id
    }
}

/// What stands for a path where the path itself should not: names of files may tell more than they should.
pub(super) fn path_mark(path: &Path) -> u64 {
    let digest = ring::digest::digest(&SHA256, path.as_os_str().as_bytes());
    let (head, _) = digest.as_ref().split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    u64::from_be_bytes(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_name_makes_no_other_file_but_another_content_does() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        let identity = |path: &Path| Identity::of(&std::fs::metadata(path).unwrap());
        std::fs::write(&one, "abc").unwrap();
        let first = identity(&one);
        std::fs::rename(&one, &other).unwrap();
        assert_eq!(identity(&other), first);
        std::fs::write(&other, "abcd").unwrap();
        assert_ne!(identity(&other), first);
        assert_ne!(path_mark(&one), path_mark(&other));
    }

    #[test]
    fn ids_of_profiles_last_and_differ() {
        let identity = Identity {
            device: 1,
            inode: 2,
            size: 3,
            modified: 4,
        };
        let moved = Identity { device: 9, ..identity };
        assert_eq!(identity.profile_id(0, 1), moved.profile_id(0, 1));
        assert_ne!(identity.profile_id(0, 1), identity.profile_id(1, 0));
        assert_eq!(identity.mark(), moved.mark());
        assert_ne!(identity.mark(), Identity { inode: 9, ..identity }.mark());
    }
}
