//! The spool: where a received token lies, sealed and on disk, before it is anywhere else.
//!
//! Many vendors end the old refresh token as they give a new one. A crash between their answer and our
//! database would lose the account; the file lives through it. One file per connection, written over: what was in it before is in
//! the database, or of no use any more.

use std::borrow::Cow;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Millis};
use crate::errors::{Error, Result};
use crate::vault::{Aad, Keyring};

/// Tokens that a vendor gave, on their way: first the spool, then the database, then into use.
#[derive(Clone)]
pub(super) struct Given {
    /// The access token.
    pub access: SecretString,
    /// The refresh token that is good from now on.
    pub refresh: Option<SecretString>,
    /// When the access token ends, when known.
    pub expires_at: Option<Millis>,
    /// From when on it is better to refresh it.
    pub refresh_at: Option<Millis>,
    /// The version that they are saved under.
    pub version: i64,
    /// The base URL that came with them, checked.
    pub base_url: Option<String>,
    /// The account that they are for, when the vendor said.
    pub external_id: Option<String>,
    /// Scopes, when the vendor said.
    pub scopes: Vec<String>,
}

/// [`Given`] inside the seal.
#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    access: Cow<'a, str>,
    refresh: Option<Cow<'a, str>>,
    expires_at: Option<Millis>,
    refresh_at: Option<Millis>,
    base_url: Option<String>,
    external_id: Option<String>,
    scopes: Vec<String>,
}

/// One connection's place in the spool.
pub(super) struct Spool {
    folder: PathBuf,
    connection: String,
}

impl Spool {
    /// The place of a connection in this folder; the folder is made when first needed.
    pub fn new(folder: &Path, connection: &str) -> Self {
        Self { folder: folder.to_owned(), connection: connection.to_owned() }
    }

    /// Puts tokens there, in place of the ones before. When it returns, they live through a crash of the machine. It takes some
    /// milliseconds of this thread, once in the life of a token.
    ///
    /// # Errors
    /// [`Error::System`] when the disk does not take them; the vault's.
    pub fn keep(&self, clock: &Clock, keys: &Keyring, given: &Given) -> Result<()> {
        let plain = Plain {
            access: given.access.expose_secret().into(),
            refresh: given.refresh.as_ref().map(|token| token.expose_secret().into()),
            expires_at: given.expires_at,
            refresh_at: given.refresh_at,
            base_url: given.base_url.clone(),
            external_id: given.external_id.clone(),
            scopes: given.scopes.clone(),
        };
        let plain = Zeroizing::new(serde_json::to_vec(&plain).map_err(|e| Error::System(format!("tokens as JSON: {e}")))?);
        let sealed = keys.seal(clock, self.place(given.version), &plain)?;
        self.write(&format!("{}\n{sealed}\n", given.version)).map_err(|e| Error::System(format!("{}: {e}", self.path().display())))
    }

    /// What lies there, whatever its age. What does not open here (altered, another connection's, another version's, or sealed
    /// under a key that is gone) is as good as nothing, and said in the log.
    pub fn read(&self, keys: &Keyring) -> Option<Given> {
        let text = match fs::read_to_string(self.path()) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(connection = self.connection, %error, "the token spool cannot be read");
                return None;
            }
        };
        let given = self.opened(keys, &text);
        if given.is_none() {
            tracing::error!(connection = self.connection, "what lies in the token spool does not open here");
        }
        given
    }

    fn opened(&self, keys: &Keyring, text: &str) -> Option<Given> {
        let (version, sealed) = text.trim_end().split_once('\n')?;
        let version = version.parse().ok()?;
        let plain = keys.open(self.place(version), sealed).ok()?;
        let plain: Plain<'_> = serde_json::from_slice(&plain).ok()?;
        Some(Given {
            access: plain.access.into_owned().into(),
            refresh: plain.refresh.map(|token| token.into_owned().into()),
            expires_at: plain.expires_at,
            refresh_at: plain.refresh_at,
            version,
            base_url: plain.base_url,
            external_id: plain.external_id,
            scopes: plain.scopes,
        })
    }

    fn place(&self, version: i64) -> Aad<'_> {
        Aad::new("token_spool", &self.connection, "tokens").version(version as u64)
    }

    fn path(&self) -> PathBuf {
        self.folder.join(&self.connection)
    }

    /// Half-written text does not open, and is as good as nothing.
    fn write(&self, text: &str) -> std::io::Result<()> {
        let open = |new: bool| OpenOptions::new().write(true).create_new(new).mode(0o600).open(self.path());
        let put = |mut file: File| {
            file.write_all(text.as_bytes())?;
            file.set_len(text.len() as u64)?;
            file.sync_data()
        };
        match open(false) {
            Ok(file) => put(file),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
                put(open(true)?)?;
                File::open(&self.folder)?.sync_all()
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::vault::Key;

    fn keys(byte: u8) -> Keyring {
        Keyring::new("k1", [("k1".to_owned(), Key::from_bytes([byte; 32]))]).expect("a ring")
    }

    fn given(version: i64) -> Given {
        Given {
            access: "access-\"1\"".into(),
            refresh: Some("refresh-1".into()),
            expires_at: Some(900),
            refresh_at: Some(800),
            version,
            base_url: Some("https://na1.example".into()),
            external_id: Some("00D1".into()),
            scopes: vec!["api".into()],
        }
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("leadshare-spool-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    // Breaks when a token does not come out of the spool as it went in, can be read there by anybody, or an old one stays.
    #[test]
    fn tokens_come_out_as_they_went_in() {
        let (folder, keys, clock) = (folder("whole"), keys(1), Clock::test(0));
        let spool = Spool::new(&folder, "northwind");
        assert!(spool.read(&keys).is_none());
        spool.keep(&clock, &keys, &given(7)).expect("kept");
        spool.keep(&clock, &keys, &given(8)).expect("kept");
        let found = spool.read(&keys).expect("there");
        assert_eq!(
            (found.version, found.access.expose_secret(), found.expires_at, found.refresh_at),
            (8, "access-\"1\"", Some(900), Some(800))
        );
        assert_eq!(found.refresh.as_ref().map(ExposeSecret::expose_secret), Some("refresh-1"));
        assert_eq!((found.base_url.as_deref(), found.external_id.as_deref()), (Some("https://na1.example"), Some("00D1")));
        assert_eq!(found.scopes, ["api"]);
        let files: Vec<_> = fs::read_dir(&folder).expect("the folder").flatten().map(|entry| entry.path()).collect();
        assert_eq!(files, [folder.join("northwind")], "nothing else is left");
        let text = fs::read_to_string(&files[0]).expect("the file");
        assert!(!text.contains("refresh-1") && !text.contains("na1"), "{text}");
        assert_eq!(fs::metadata(&files[0]).expect("the file").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder).expect("the folder").permissions().mode() & 0o777, 0o700);
        fs::remove_dir_all(&folder).expect("removed");
    }

    // Breaks when a spool that was altered, copied from another connection, renumbered, or sealed with other keys is believed.
    #[test]
    fn only_its_own_tokens_are_believed() {
        let (folder, clock) = (folder("own"), Clock::test(0));
        let spool = Spool::new(&folder, "northwind");
        spool.keep(&clock, &keys(1), &given(7)).expect("kept");
        let text = fs::read_to_string(folder.join("northwind")).expect("the file");
        assert!(spool.read(&keys(2)).is_none());
        for (name, text) in
            [("northwind", text.replacen('7', "9", 1)), ("northwind", "7\n".into()), ("northwind", String::new()), ("lumen", text)]
        {
            fs::write(folder.join(name), &text).expect("written");
            assert!(Spool::new(&folder, name).read(&keys(1)).is_none(), "{name}: {text}");
        }
        fs::remove_dir_all(&folder).expect("removed");
    }
}
