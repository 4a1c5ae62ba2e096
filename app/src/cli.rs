//! The command line: what can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// How commands answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// The API's answer as it came.
    Json,
}

/// Ships services and keeps them steady.
#[derive(Debug, Parser)]
#[command(name = "trimtab", version, propagate_version = true)]
pub(crate) struct Cli {
    /// Where the server answers.
    #[arg(
        long,
        global = true,
        env = "TRIMTAB_URL",
        default_value = "http://127.0.0.1:7700"
    )]
    pub url: String,
    /// The token; else the file keys/admin.token in the data folder is read.
    #[arg(long, global = true, env = "TRIMTAB_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The form of the answer.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub output: Output,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One thing (a run, a rollout) and a comment on it.
#[derive(Debug, Args)]
pub(crate) struct About {
    /// Its id, for example run-3 or rollout-4.
    pub id: String,
    /// Kept in the audit log.
    #[arg(long, short = 'm', default_value = "")]
    pub comment: String,
}

/// Words passed on untouched.
#[derive(Debug, Args)]
pub(crate) struct Raw {
    /// Everything that follows.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// Which log lines.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Only of this service.
    #[arg(long)]
    pub service: Option<String>,
    /// Only of this environment.
    #[arg(long)]
    pub environment: Option<String>,
    /// Only of this release.
    #[arg(long)]
    pub release: Option<String>,
    /// At least so severe: trace, debug, info, warn, error, fatal.
    #[arg(long)]
    pub level: Option<String>,
    /// Only of this trace.
    #[arg(long)]
    pub trace: Option<String>,
    /// At most so many lines.
    #[arg(long, default_value_t = 200)]
    pub limit: usize,
    /// Only lines that contain this text.
    pub text: Option<String>,
}

/// What to do about a repository's hook.
#[derive(Debug, Subcommand)]
pub(crate) enum HookCommand {
    /// Have a bare git repository on this machine tell of each push.
    Install {
        /// The repository.
        repository: PathBuf,
        /// The service it holds.
        #[arg(long)]
        service: String,
    },
    /// Called by git after a push.
    #[command(hide = true)]
    PostReceive {
        /// The service.
        service: String,
    },
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; its secret is shown once.
    Create {
        /// Whose it is.
        name: String,
        /// viewer, developer, approver, operator or admin.
        #[arg(long, default_value = "viewer")]
        role: String,
        /// Days until it ends.
        #[arg(long)]
        days: Option<u32>,
    },
    /// List tokens, without their secrets.
    List,
    /// End a token now.
    Revoke {
        /// The token's id.
        id: String,
    },
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server.
    Serve {
        /// The data folder.
        #[arg(long, env = "TRIMTAB_DATA", default_value = "data")]
        data: PathBuf,
        /// The configuration; trimtab-server.yaml in the data folder when absent.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// The traffic proxy; started by serve.
    #[command(hide = true)]
    Proxy(Raw),
    /// The keeper of one instance; started by serve.
    #[command(hide = true)]
    Shim(Raw),
    /// Show the whole story: ship a good release and a bad one, and watch the bad one be caught.
    Demo {
        /// Stop everything at the end and exit 1 unless the bad release was rolled back.
        #[arg(long)]
        exit: bool,
        /// Folder to work in; a temporary one when absent.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Write a starter trimtab.yaml and trimtab-server.yaml.
    Init {
        /// The service's name.
        #[arg(default_value = "my-service")]
        service: String,
        /// Where to write.
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    /// Start a pipeline run of a commit.
    Deploy {
        /// The service.
        service: String,
        /// A commit, branch or tag; the protected branch's head when absent.
        commit: Option<String>,
    },
    /// Show what is under way.
    Status,
    /// Follow a rollout until it ends.
    Watch {
        /// The rollout, for example rollout-4.
        rollout: String,
    },
    /// Answer a run's gate with yes.
    Approve(About),
    /// Answer a run's gate with no.
    Reject(About),
    /// Give a rollout's candidate all traffic now.
    Promote(About),
    /// End a rollout and go back.
    Abort(About),
    /// Hold a rollout where it stands.
    Pause(About),
    /// Go on with a paused rollout.
    Resume(About),
    /// Go back to an earlier release, or undo a rollout.
    Rollback {
        /// A service or a rollout.
        target: String,
        /// The release to go back to; the previous one when absent.
        #[arg(long)]
        release: Option<String>,
        /// Where; production when absent.
        #[arg(long)]
        environment: Option<String>,
        /// Kept in the audit log.
        #[arg(long, short = 'm', default_value = "")]
        comment: String,
    },
    /// Search log lines.
    Logs(Logs),
    /// Evaluate PromQL.
    Query {
        /// PromQL.
        query: String,
        /// At which time (RFC 3339 or seconds); now when absent.
        #[arg(long)]
        time: Option<String>,
    },
    /// List incidents.
    Incidents {
        /// Only open ones.
        #[arg(long)]
        open: bool,
    },
    /// Say why an incident came about and what was done.
    Explain {
        /// The incident, for example incident-1.
        incident: String,
    },
    /// Print an incident's postmortem.
    Postmortem {
        /// The incident, for example incident-1.
        incident: String,
    },
    /// Make, list and revoke tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Have a git repository tell of pushes.
    #[command(subcommand)]
    Hook(HookCommand),
    /// Check the server and what it depends on.
    Doctor,
}
