//! Reads a program folder: the one part of `program` that touches files.

use std::path::Path;

use super::{FileKind, ProgramFile, parse_file};
use crate::errors::Diagnostic;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Reads every program file below a folder. Files with errors are left out and reported; paths in errors begin at the folder.
pub fn read_folder(dir: &Path) -> (Vec<ProgramFile>, Vec<Diagnostic>) {
    let mut files = Vec::new();
    let mut found = Vec::new();
    if !dir.is_dir() {
        let message = "the program folder is not there".to_owned();
        return (files, vec![Diagnostic::whole(&dir.display().to_string(), "program.folder", message)]);
    }
    for kind in FileKind::ALL {
        let folder = dir.join(kind.folder());
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                found.push(Diagnostic::whole(kind.folder(), "program.folder", format!("the folder cannot be read: {error}")));
                continue;
            }
        };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        for name in names {
            let shown = format!("{}/{name}", kind.folder());
            // Editors leave hidden files and backups beside the real ones.
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            let Some(stem) = name.strip_suffix(kind.ending()).and_then(|stem| stem.strip_suffix('.')) else {
                let hint = format!("files here end in .{}", kind.ending());
                found.push(Diagnostic::whole(&shown, "program.stray", "this file is not read").hint(hint).warning());
                continue;
            };
            match text(&folder.join(&name)).map_err(|why| vec![Diagnostic::whole(&shown, "program.unreadable", why)]) {
                Ok(text) => match parse_file(kind, stem, &shown, &text) {
                    Ok(mut file) => {
                        file.rest();
                        files.push(file);
                    }
                    Err(errors) => found.extend(errors),
                },
                Err(errors) => found.extend(errors),
            }
        }
    }
    (files, found)
}

fn text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|e| format!("the file cannot be read: {e}"))?.len();
    if size > LARGEST {
        return Err(format!("the file is larger than {LARGEST} bytes"));
    }
    let bytes = std::fs::read(path).map_err(|e| format!("the file cannot be read: {e}"))?;
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text".to_owned())
}
