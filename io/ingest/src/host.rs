//! Figures of this machine.

use std::path::{Path, PathBuf};

use sysinfo::{CpuRefreshKind, Disks, MemoryRefreshKind, Networks, RefreshKind, System};
use trimtab_model::Identity;
use trimtab_telemetry::{Sample, stamped_sample};

use crate::intake::now_nanos;

/// Most network interfaces that are reported.
const INTERFACES_MAX: usize = 16;

/// Measures this machine. To be asked about once a second: the CPU's share is that since the last time.
///
/// `trimtab_host_cpu_percent` (0 to 100 over all cores), `trimtab_host_cpu_cores`,
/// `trimtab_host_memory_used_bytes` and `_total_bytes`, `trimtab_host_disk_used_bytes` and
/// `_total_bytes` (of the file system that holds the data folder), `trimtab_host_network_received_bytes_total`
/// and `_sent_bytes_total` (by `interface`), `trimtab_host_load1`, `trimtab_host_uptime_seconds`.
#[derive(Debug)]
pub struct HostMetrics {
    data_folder: PathBuf,
    system: Option<System>,
    disks: Option<Disks>,
    networks: Option<Networks>,
}

impl HostMetrics {
    /// Begins to measure. What the system does not tell is left out of the samples.
    pub fn new(data_folder: impl Into<PathBuf>) -> Self {
        let data_folder = data_folder.into();
        let wanted = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_usage())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        HostMetrics {
            data_folder: data_folder.canonicalize().unwrap_or(data_folder),
            system: System::new_with_specifics(wanted).ok(),
            disks: Disks::new_with_refreshed_list().ok(),
            networks: Networks::new_with_refreshed_list().ok(),
        }
    }

    /// Measures now. Reads `/proc` and asks for the disk's space: a few milliseconds.
    pub fn samples(&mut self) -> Vec<Sample> {
        let at_ms = i64::try_from(now_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let identity = Identity::default();
        let sample = |name: &str, labels: &[(&str, &str)], value: f64| {
            stamped_sample(name, labels, &identity, at_ms, value)
        };
        let mut samples = vec![];
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            samples.push(sample(
                "trimtab_host_cpu_percent",
                &[],
                f64::from(system.global_cpu_usage()),
            ));
            samples.push(sample("trimtab_host_cpu_cores", &[], system.cpus().len() as f64));
            samples.push(sample(
                "trimtab_host_memory_used_bytes",
                &[],
                system.used_memory() as f64,
            ));
            samples.push(sample(
                "trimtab_host_memory_total_bytes",
                &[],
                system.total_memory() as f64,
            ));
        }
        if let Some(disks) = &mut self.disks {
            disks.refresh(false);
            if let Some((used, total)) = space(disks, &self.data_folder) {
                samples.push(sample("trimtab_host_disk_used_bytes", &[], used as f64));
                samples.push(sample("trimtab_host_disk_total_bytes", &[], total as f64));
            }
        }
        if let Some(networks) = &mut self.networks {
            networks.refresh(true);
            let mut interfaces: Vec<_> = networks.iter().collect();
            interfaces.sort_by(|a, b| a.0.cmp(b.0));
            for (name, data) in interfaces.into_iter().take(INTERFACES_MAX) {
                let name = name.to_string_lossy();
                let labels = [("interface", name.as_ref())];
                let received = data.total_received() as f64;
                samples.push(sample(
                    "trimtab_host_network_received_bytes_total",
                    &labels,
                    received,
                ));
                let sent = data.total_transmitted() as f64;
                samples.push(sample("trimtab_host_network_sent_bytes_total", &labels, sent));
            }
        }
        if let Ok(load) = System::load_average() {
            samples.push(sample("trimtab_host_load1", &[], load.one));
        }
        if let Ok(uptime) = System::uptime() {
            samples.push(sample("trimtab_host_uptime_seconds", &[], uptime as f64));
        }
        samples
    }
}

/// Used and total bytes of the file system that holds a folder: the one mounted nearest above it.
fn space(disks: &Disks, folder: &Path) -> Option<(u64, u64)> {
    let holds = disks.iter().filter(|disk| folder.starts_with(disk.mount_point()));
    let nearest = holds.max_by_key(|disk| disk.mount_point().components().count())?;
    let total = nearest.total_space();
    Some((total.saturating_sub(nearest.available_space()), total))
}
