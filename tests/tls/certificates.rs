//! A certification authority, and what it has signed.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use crate::support::process::{User, is_root, new_folder};
use crate::support::wait::unique_name;

/// PEM files of one authority; deleted with it.
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, each as a PEM file.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Of two with one name, a client would blame the signature.
        params.distinguished_name.push(DnType::CommonName, unique_name("Tests"));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let folder = new_folder("certificates");
        std::fs::write(folder.join("ca.pem"), issuer.pem()).expect("a file in an own folder");
        Authority { folder, issuer }
    }

    /// What clients trust.
    pub fn file(&self) -> String {
        text(&self.folder.join("ca.pem"))
    }

    /// For a server that is called so.
    pub fn server(&self, name: &str) -> Pair {
        self.signed(name, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// For a client that logs in by this name.
    pub fn client(&self, name: &str) -> Pair {
        self.signed(name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A file beside the certificates, for everybody to read.
    pub fn write(&self, name: &str, text: &str) -> String {
        let file = self.folder.join(name);
        std::fs::write(&file, text).expect("a file in an own folder");
        self::text(&file)
    }

    fn signed(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let write = |end: &str, pem: String| {
            let file = self.folder.join(format!("{name}-{end}.pem"));
            std::fs::write(&file, pem).expect("a file in an own folder");
            file
        };
        let (certificate, key) = (write("cert", certificate.pem()), write("key", key.serialize_pem()));
        keep_private(&key);
        Pair { certificate: text(&certificate), key: text(&key) }
    }
}

/// PostgreSQL takes a key only that belongs to its own user and that nobody else may read.
fn keep_private(key: &Path) {
    use std::os::unix::fs::{PermissionsExt, chown};
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).expect("permissions of an own file");
    if is_root() {
        let user = User::in_file(Path::new("/etc/passwd"), "postgres");
        chown(key, Some(user.uid), Some(user.gid)).expect("root may");
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
