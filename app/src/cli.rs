//! The command line: what can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use crate::commands::doctor::DoctorArgs;
use crate::commands::flags::FlagCommand;
use crate::demo::Way;

/// How commands answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// The API's answer as it came.
    Json,
}

const AFTER_HELP: &str = "\
Exit status: 0 done and well; 1 failed, or the answer is no; 2 typed wrong; 3 no server reached;
4 not allowed; 5 not found; 6 not possible in this state.

A token is taken from --token, TRIMTAB_TOKEN, or keys/admin.token in the data folder (TRIMTAB_DATA, else ./data).";

/// Ships services and keeps them steady.
#[derive(Debug, Parser)]
#[command(name = "trimtab", version, propagate_version = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Where the server answers.
    #[arg(
        long,
        global = true,
        env = "TRIMTAB_URL",
        default_value = "http://127.0.0.1:7700"
    )]
    pub url: String,
    /// The token to show to the server.
    #[arg(long, global = true, env = "TRIMTAB_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The form of the answer.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub output: Output,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One thing (a run, a rollout, an incident) and a comment on it.
#[derive(Debug, Args)]
pub(crate) struct About {
    /// Its id, for example run-3, rollout-4 or incident-1.
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
    /// At most so many lines of the past; 200, or 10 with --follow.
    #[arg(long)]
    pub limit: Option<usize>,
    /// Go on printing lines as they come.
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// Only lines that contain this text.
    pub text: Option<String>,
}

/// Releases that go out together.
#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    /// Roll several services out together: a barrier per step, one alpha, all back if one is.
    Together {
        /// SERVICE=RELEASE, or SERVICE=RELEASE@WEIGHT; what others need comes first, so that it goes back last.
        #[arg(required = true, num_args = 2..)]
        members: Vec<String>,
        /// Where; production when absent.
        #[arg(long)]
        environment: Option<String>,
        /// Kept in the audit log.
        #[arg(long, short = 'm', default_value = "")]
        comment: String,
    },
    /// List what is and was released together.
    Groups,
    /// Take all of a group back, in reverse order.
    Abort(About),
}

/// What users shall meet at a service's entrance.
#[derive(Debug, Subcommand)]
pub(crate) enum EntranceCommand {
    /// Let requests wait for a moment: they are served once it is opened, or when the time is over.
    Hold {
        /// Where.
        #[command(flatten)]
        at: EntranceAt,
        /// For how long at most, in seconds.
        #[arg(long, default_value_t = 30)]
        seconds: u32,
    },
    /// Show a page that says that it is closed, with status 503.
    Close {
        /// Where.
        #[command(flatten)]
        at: EntranceAt,
        /// A file with the page (HTML); a plain one with the comment when absent.
        #[arg(long)]
        page: Option<PathBuf>,
        /// After how many seconds clients may ask again.
        #[arg(long, default_value_t = 60)]
        retry_after: u32,
    },
    /// Let users through again.
    Open {
        /// Where.
        #[command(flatten)]
        at: EntranceAt,
    },
}

/// How many instances, and of what.
#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// The service.
    pub service: String,
    /// For example `production`.
    pub environment: String,
    /// A number, also for later releases; or `as-written`: as many as the project file says.
    pub instances: Count,
    /// Kept in the audit log.
    #[arg(long, short = 'm', default_value = "")]
    pub comment: String,
}

/// How many instances are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// So many.
    Of(u32),
    /// As many as the project file says.
    AsWritten,
}

impl std::str::FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "as-written" => Ok(Count::AsWritten),
            text => text
                .parse()
                .map(Count::Of)
                .map_err(|_| "give a number of instances, or as-written".to_owned()),
        }
    }
}

/// Which entrance, and why it is changed.
#[derive(Debug, Args)]
pub(crate) struct EntranceAt {
    /// The service.
    pub service: String,
    /// Where; production when absent.
    #[arg(long)]
    pub environment: Option<String>,
    /// Kept in the audit log.
    #[arg(long, short = 'm', default_value = "")]
    pub comment: String,
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

/// What to do about incidents.
#[derive(Debug, Subcommand)]
pub(crate) enum IncidentCommand {
    /// Say that you have seen it.
    Acknowledge(About),
    /// Stop automatic actions: you have it.
    TakeOver(About),
    /// Say that a fix is in (the comment says which), and have the metrics verified.
    FixApplied(About),
    /// Say that it is over.
    Resolve(About),
    /// Hold back its notifications for a while.
    Silence {
        /// The incident, for example incident-1.
        id: String,
        /// Why nobody is to be told; kept in the audit log.
        #[arg(long, short = 'm')]
        reason: String,
        /// How long, in minutes from now.
        #[arg(long, default_value_t = 60)]
        minutes: u64,
    },
    /// List the silences in force.
    Silences,
    /// End a silence before its time.
    EndSilence {
        /// The silence, for example silence-1.
        id: String,
    },
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole story: ship a good release and a bad one, and watch the bad one be caught.
    Demo {
        /// Stop everything at the end, with status 0 only if the bad release was rolled back and the good one serves.
        #[arg(long)]
        exit: bool,
        /// How the releases go out.
        #[arg(long, value_enum, default_value_t)]
        strategy: Way,
        /// Folder to work in, emptied first if an earlier demo left it; one for each user in the temporary folder when absent.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Write a starter trimtab.yaml and trimtab-server.yaml.
    Init {
        /// The service's name; the folder's when absent.
        service: Option<String>,
        /// The service's repository, where to write.
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
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
    /// Start a pipeline run of a commit.
    Deploy {
        /// The service.
        service: String,
        /// A commit, branch or tag; the protected branch's head when absent.
        commit: Option<String>,
    },
    /// Show what is under way and what waits for you.
    Status,
    /// List past and present rollouts, newest first.
    History {
        /// Only of this service.
        service: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Follow a rollout until it ends: a live view on a terminal, lines elsewhere.
    Watch {
        /// A rollout or a run, for example rollout-4; the newest under way when absent.
        target: Option<String>,
    },
    /// Answer a run's gate, or what a rollout's step waits for, with yes.
    Approve(About),
    /// Answer a run's gate with no.
    Reject(About),
    /// Stop a run.
    Cancel(About),
    /// Give a rollout's candidate all traffic now.
    Promote(About),
    /// End a rollout and go back.
    Abort(About),
    /// Hold a rollout where it stands; its guards stay on.
    Pause(About),
    /// Go on with a paused rollout.
    Resume(About),
    /// Try again now what waits to be tried again, or begin anew what ended without being deployed.
    Retry(About),
    /// Take traffic off a rollout's candidate and begin its whole way anew.
    Restart(About),
    /// Release several services together, or see and take back what was.
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Hold, close or open what users reach a service by.
    #[command(subcommand)]
    Entrance(EntranceCommand),
    /// Run so many instances of a service from now on; no request fails.
    Scale(Scale),
    /// What each step of a service's next rollout is expected to find, and how soon, by its latest traffic.
    Forecast {
        /// The service.
        service: String,
    },
    /// Go back to an earlier release, or undo a rollout; says first how long it will take.
    Rollback {
        /// A service or a rollout.
        target: String,
        /// The release to go back to; the previous one when absent.
        #[arg(long = "to", visible_alias = "release", value_name = "RELEASE")]
        release: Option<String>,
        /// Only say where it would lead and how long it would take.
        #[arg(long)]
        dry_run: bool,
        /// Where; production when absent.
        #[arg(long)]
        environment: Option<String>,
        /// Kept in the audit log.
        #[arg(long, short = 'm', default_value = "")]
        comment: String,
    },
    /// Let a release that was rolled back be deployed again.
    LiftQuarantine(About),
    /// Let the proxy's work go over to a worker of the program that is installed now; no request fails.
    UpgradeProxy {
        /// Kept in the audit log.
        #[arg(long, short = 'm', default_value = "")]
        comment: String,
    },
    /// Search log lines, or follow them.
    Logs(Logs),
    /// Evaluate PromQL.
    Query {
        /// PromQL.
        query: String,
        /// At which time (RFC 3339 or seconds); now when absent.
        #[arg(long)]
        time: Option<String>,
    },
    /// List incidents, or do something about one.
    #[command(args_conflicts_with_subcommands = true)]
    Incidents {
        /// Only open ones.
        #[arg(long)]
        open: bool,
        /// What to do; without it they are listed.
        #[command(subcommand)]
        command: Option<IncidentCommand>,
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
    /// Check this machine and the server; salvage a damaged journal.
    Doctor(DoctorArgs),
    /// Print a script that completes commands in a shell.
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
    /// Feature flags: list, change, check, undo.
    #[command(subcommand)]
    Flags(FlagCommand),
}
