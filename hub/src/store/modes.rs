//! Who may read the data folder's files: their owner alone, whatever the umask and the mode of the folder around them.
//!
//! Owns the modes. Never knows what is in the files.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// What the group and everybody else may do.
const OTHERS: u32 = 0o077;
const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;

/// Options for a file that is made for its owner alone, if it is made.
#[must_use]
pub fn private_file() -> OpenOptions {
    let mut options = File::options();
    options.mode(PRIVATE_FILE);
    options
}

/// Makes a folder, and those that it is in, for their owner alone; those that are there stay as they are.
///
/// # Errors
/// The operating system's.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(path)
}

/// Closes a file or folder of an earlier run, or one copied from elsewhere, to everybody but its owner. What is missing is fine, and
/// what can't be changed (it may be somebody else's, on a volume that many users share) is logged: the hub works all the same.
pub fn close_to_others(path: &Path) {
    let closed = std::fs::metadata(path).and_then(|metadata| {
        let mut permissions = metadata.permissions();
        if permissions.mode() & OTHERS == 0 {
            return Ok(());
        }
        permissions.set_mode(permissions.mode() & !OTHERS);
        std::fs::set_permissions(path, permissions)
    });
    match closed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let path = path.display();
            tracing::warn!(%path, %error, "{path} is open to other users of this machine, and can't be closed to them: {error}");
        }
        _ => {}
    }
}

/// Whether everybody on the machine may look into a folder. Its group may: that is how Kubernetes hands a volume to a pod.
///
/// # Errors
/// The operating system's.
pub fn is_open_to_all(folder: &Path) -> io::Result<bool> {
    const EVERYBODY: u32 = 0o007;
    Ok(std::fs::metadata(folder)?.permissions().mode() & EVERYBODY != 0)
}
