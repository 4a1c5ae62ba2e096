//! What each instance uses, as series.

use std::collections::BTreeMap;
use std::time::Instant;

use trimtab_model::{Identity, InstanceId, Timestamp};
use trimtab_runtime::{Runtime, Usage};
use trimtab_telemetry::{Sample, stamped_sample};

/// Remembers the CPU time of each instance, to tell how much was spent since.
#[derive(Default)]
pub(crate) struct Usages {
    spent: BTreeMap<InstanceId, (Instant, f64)>,
}

impl Usages {
    /// The figures of every instance that the runtime knows.
    pub(crate) async fn samples(
        &mut self,
        runtime: &dyn Runtime,
        identify: impl Fn(&InstanceId) -> Option<Identity>,
        at: Timestamp,
    ) -> Vec<Sample> {
        let Ok(instances) = runtime.list().await else {
            return Vec::new();
        };
        let mut samples = Vec::new();
        let mut spent = BTreeMap::new();
        for instance in instances {
            let identity = identify(&instance.id).unwrap_or_else(|| Identity {
                service: Some(instance.service.clone()),
                environment: Some(instance.environment.clone()),
                release: Some(instance.release.clone()),
                instance: Some(instance.id.clone()),
                ..Identity::default()
            });
            let mut sample =
                |name: &str, value: f64| samples.push(stamped_sample(name, &[], &identity, at.0, value));
            sample("trimtab_instance_restarts_total", f64::from(instance.restarts));
            if instance.pid.is_none() {
                continue;
            }
            let Ok(usage) = runtime.usage(&instance.id).await else {
                continue;
            };
            let now = Instant::now();
            if let Some(percent) = self.percent(&instance.id, now, &usage) {
                sample("trimtab_instance_cpu_percent", percent);
            }
            sample("trimtab_instance_memory_bytes", usage.rss_bytes as f64);
            sample("trimtab_instance_threads", usage.threads as f64);
            sample("trimtab_instance_processes", f64::from(usage.processes));
            spent.insert(instance.id, (now, usage.cpu_seconds));
        }
        self.spent = spent;
        samples
    }

    /// CPU since the last look in per cent of one core; none at the first look, and when processes ended since
    /// and took their time with them.
    fn percent(&self, id: &InstanceId, now: Instant, usage: &Usage) -> Option<f64> {
        let (then, spent) = self.spent.get(id)?;
        let elapsed = now.duration_since(*then).as_secs_f64();
        let used = usage.cpu_seconds - spent;
        (elapsed > 0.0 && used >= 0.0).then(|| 100.0 * used / elapsed)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn cpu_is_what_was_spent_since_the_last_look() {
        let id = InstanceId::new("blocks-r1-production-1").unwrap();
        let mut usages = Usages::default();
        let (now, spent) = (Instant::now(), |cpu_seconds| Usage {
            cpu_seconds,
            ..Usage::default()
        });
        assert_eq!(usages.percent(&id, now, &spent(5.0)), None, "the first look");
        usages.spent.insert(id.clone(), (now, 5.0));
        let later = now + Duration::from_secs(2);
        assert_eq!(usages.percent(&id, later, &spent(6.0)), Some(50.0));
        assert_eq!(usages.percent(&id, later, &spent(1.0)), None, "it was restarted");
        assert_eq!(usages.percent(&id, now, &spent(6.0)), None, "no time passed");
    }
}
