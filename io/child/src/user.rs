//! The user that a step or an instance runs as.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

/// A user by numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
}

/// Reads `name`, `uid` or `uid:gid`; the reason for people when it can't be.
pub fn resolve(text: &str) -> Result<User, String> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = find(&passwd, text).ok_or_else(|| {
        format!("there is no user {text:?} on this machine; create it, or name another or uid:gid")
    })?;
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if uid.is_root() || (user.uid, user.gid) == (uid.as_raw(), gid.as_raw()) {
        Ok(user)
    } else {
        Err(format!(
            "running as {text:?} needs root, and trimtab runs as uid {}; run trimtab as root or leave the user out",
            uid.as_raw()
        ))
    }
}

fn find(passwd: &str, text: &str) -> Option<User> {
    if let Some((uid, gid)) = text.split_once(':') {
        return Some(User {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        });
    }
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, uid, gid) = (fields.first()?, fields.get(2)?, fields.get(3)?);
        (*name == text || *uid == text).then_some(())?;
        Some(User {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        })
    })
}

/// Why `user` cannot come to `dir`: a folder above that others may not enter.
pub fn barred(user: User, dir: &Path) -> Option<String> {
    dir.ancestors().skip(1).find_map(|folder| {
        let meta = fs::metadata(folder).ok()?;
        let bits = match () {
            () if user.uid == 0 => return None,
            () if meta.uid() == user.uid => meta.mode() >> 6,
            () if meta.gid() == user.gid => meta.mode() >> 3,
            () => meta.mode(),
        };
        (bits & 1 == 0).then(|| {
            format!(
                "uid {} may not enter {}; run `chmod o+x` on it or move the data folder",
                user.uid,
                folder.display()
            )
        })
    })
}

/// Files given to a user at most, so that a folder of millions cannot hang a start.
const FILES_MAX: usize = 200_000;

/// Gives `dir` and all within to `user`; links are given themselves, not followed.
pub fn give(dir: &Path, user: User) -> std::io::Result<()> {
    let mut folders = vec![dir.to_owned()];
    let mut files = 0;
    lchown(dir, Some(user.uid), Some(user.gid))?;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            lchown(entry.path(), Some(user.uid), Some(user.gid))?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
            files += 1;
            if files > FILES_MAX {
                return Err(std::io::Error::other(format!("more than {FILES_MAX} files")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:www:/var/www:/bin/false\nbroken\n";
        let web = Some(User { uid: 33, gid: 34 });
        assert_eq!(find(passwd, "web"), web);
        assert_eq!(find(passwd, "33"), web);
        assert_eq!(find(passwd, "33:34"), web);
        assert_eq!(find(passwd, "nobody"), None);
        assert_eq!(find(passwd, "33:x"), None);
    }
}
