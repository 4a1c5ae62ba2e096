//! Whether a spec can be carried out.

use crate::command::{self, Unusable};
use crate::{InstanceSpec, RuntimeError};
use trimtab_child::user;

/// Longest command in words.
const COMMAND_WORDS_MAX: usize = 1_000;
/// Largest environment in bytes; the kernel takes about two megabytes with the command.
const ENV_BYTES_MAX: usize = 512 * 1024;

/// Sees that the spec can be carried out, so that the error comes at once and says the mend.
pub(crate) fn check(spec: &InstanceSpec) -> Result<(), RuntimeError> {
    let bad = |reason: String| RuntimeError::BadSpec {
        instance: spec.id.clone(),
        reason,
    };
    if !spec.dir.is_absolute() || !spec.dir.is_dir() {
        return Err(bad(format!(
            "its folder {} is not there; unpack the artifact first",
            spec.dir.display()
        )));
    }
    let folder = spec.working_folder();
    if !folder.is_dir() {
        return Err(bad(format!(
            "it has no folder {}; correct `run.directory`, or pack the folder",
            folder.display()
        )));
    }
    let Some(program) = spec.command.first().filter(|program| !program.is_empty()) else {
        return Err(bad(
            "its command is empty; set `run.command` in trimtab.yaml".to_owned()
        ));
    };
    if spec.command.len() > COMMAND_WORDS_MAX || spec.command.iter().any(|word| word.contains('\0')) {
        return Err(bad(format!(
            "its command has more than {COMMAND_WORDS_MAX} words or a NUL byte; shorten it"
        )));
    }
    let bytes: usize = spec
        .env
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2)
        .sum();
    let named = |name: &String| !name.is_empty() && !name.contains(['=', '\0']);
    if bytes > ENV_BYTES_MAX
        || !spec
            .env
            .iter()
            .all(|(name, value)| named(name) && !value.contains('\0'))
    {
        return Err(bad(format!(
            "its environment is over {ENV_BYTES_MAX} bytes, or a name is empty or holds `=` or NUL; correct `run.env`"
        )));
    }
    give_to_user(spec)?;
    let search = spec
        .env
        .get("PATH")
        .cloned()
        .or_else(|| std::env::var("PATH").ok())
        .unwrap_or_default();
    command::find(program, &folder, &search)
        .map(drop)
        .map_err(|unusable| match unusable {
            Unusable::Missing { looked } => RuntimeError::CommandMissing {
                instance: spec.id.clone(),
                command: program.clone(),
                looked,
            },
            Unusable::NotExecutable { path } => RuntimeError::NotExecutable {
                instance: spec.id.clone(),
                path,
            },
        })
}

/// Gives the artifact to the user that the instance runs as.
fn give_to_user(spec: &InstanceSpec) -> Result<(), RuntimeError> {
    let Some(name) = &spec.user else { return Ok(()) };
    let bad = |reason: String| RuntimeError::BadSpec {
        instance: spec.id.clone(),
        reason,
    };
    let user = user::resolve(name).map_err(bad)?;
    if let Some(reason) = user::barred(user, &spec.dir.join("x")) {
        return Err(bad(reason));
    }
    user::give(&spec.dir, user).map_err(RuntimeError::file("give to its user", &spec.dir))
}
