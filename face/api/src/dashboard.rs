//! The real-time dashboard (D).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Health, IncidentSummary, Moment, RolloutSummary, TimelineEntry};

/// What to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DashboardQuery {
    /// The service; the first when absent.
    pub service: Option<String>,
    /// The environment; `production` when absent.
    pub environment: Option<String>,
    /// How many minutes back; 15 when absent.
    pub minutes: Option<u32>,
}

/// The groups of D, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FigureGroup {
    /// D.S1 to D.S5.
    System,
    /// D.A1 to D.A5.
    Application,
    /// D.B1 to D.B5.
    Business,
    /// D.Q1 to D.Q5.
    Quality,
    /// D.AL1 to D.AL3.
    Alerts,
}

/// How a figure stands against what was declared for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FigureState {
    /// Nothing is known: shown as "no data".
    NoData,
    /// Known, and nothing is declared to judge it by.
    Neutral,
    /// Within its objective.
    Good,
    /// Near or over it.
    Warning,
    /// Far over it.
    Critical,
}

/// One figure of D.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// Its node: `D.S1`.
    pub id: String,
    /// Its group.
    pub group: FigureGroup,
    /// Its title in English, for example `CPU` or what the team calls a business figure.
    pub title: String,
    /// The value; none is "no data", never 0.
    pub value: Option<f64>,
    /// Whole that the value is part of, in the same unit (memory, disk).
    #[serde(default)]
    pub total: Option<f64>,
    /// Unit: `%`, `bytes`, `bytes/s`, `/s`, `ms`, `s`, `/5`, `/h`, `/min`, or empty.
    pub unit: String,
    /// How it stands.
    pub state: FigureState,
    /// Query or definition it comes from.
    pub source: String,
    /// One sentence that helps to read it, for example `p95, objective 300 ms`.
    #[serde(default)]
    pub detail: String,
    /// Its recent past, evenly spaced, oldest first; `null` where nothing is known.
    #[serde(default)]
    pub sparkline: Vec<Option<f64>>,
    /// When the newest sample it rests on was taken.
    #[serde(default)]
    pub as_of: Option<Moment>,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChartSeries {
    /// Its name for the legend.
    pub name: String,
    /// Milliseconds since the epoch and the value; `null` is a gap.
    pub points: Vec<(i64, Option<f64>)>,
}

/// A chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Chart {
    /// Its key: `requests`, `errors`, `latency`, `cpu`, `memory`, `network`, `weights`, or a figure's id.
    pub id: String,
    /// Its title in English.
    pub title: String,
    /// Unit of its values, as in figures.
    pub unit: String,
    /// Its lines; none is "no data".
    pub series: Vec<ChartSeries>,
    /// A level to draw (an objective).
    #[serde(default)]
    pub objective: Option<f64>,
    /// Query it comes from.
    #[serde(default)]
    pub source: String,
}

/// A change or an incident to mark on every chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Marker {
    /// When.
    pub at: Moment,
    /// Its end, for what lasts.
    #[serde(default)]
    pub until: Option<Moment>,
    /// `deploy`, `rollback`, `incident`, `weight`, `configuration`.
    pub kind: String,
    /// What, in few words.
    pub label: String,
    /// Path of the page that shows it.
    #[serde(default)]
    pub link: Option<String>,
}

/// Which markers to list, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MarkerQuery {
    /// Only of this service.
    pub service: Option<String>,
    /// Only in this environment.
    pub environment: Option<String>,
    /// Only what happened then or later, or lasted till then.
    pub from: Option<Moment>,
    /// Only what began before that.
    pub to: Option<Moment>,
}

/// Markers for charts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Markers {
    /// Oldest first.
    pub markers: Vec<Marker>,
}

/// Everything the overview shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dashboard {
    /// The service shown; none while there is none.
    pub service: Option<String>,
    /// The environment shown.
    pub environment: String,
    /// Names of all services, to choose from.
    #[serde(default)]
    pub services: Vec<String>,
    /// Names of all environments, to choose from.
    #[serde(default)]
    pub environments: Vec<String>,
    /// Overall health.
    pub health: Health,
    /// Every figure of D, by group.
    pub figures: Vec<Figure>,
    /// Charts of rate, errors and duration first, then saturation.
    pub charts: Vec<Chart>,
    /// Changes and incidents within the charts' time.
    #[serde(default)]
    pub markers: Vec<Marker>,
    /// Rollouts under way, else the last one.
    #[serde(default)]
    pub rollouts: Vec<RolloutSummary>,
    /// Open incidents.
    #[serde(default)]
    pub incidents: Vec<IncidentSummary>,
    /// The newest entries of the timeline.
    #[serde(default)]
    pub timeline: Vec<TimelineEntry>,
    /// Beginning of the charts' time.
    pub from: Moment,
    /// End of it.
    pub to: Moment,
    /// When the newest sample arrived; none before the first.
    pub data_as_of: Option<Moment>,
}
