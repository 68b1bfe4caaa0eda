//! Reports, by the user's reporter or by default.

use std::sync::atomic::Ordering;

use super::default_report::Until;
use super::handle::Worker;
use super::inner::Inner;
use super::panics::catch_panic;
use crate::error::{Error, Result};
use crate::seat::report::{Report, Trouble};

impl Worker {
    pub(super) fn report_poller_ended(&self, error: &Error) {
        self.inner.report(&Report { source: "", event: "", id: None, trouble: Trouble::PollerEnded(error) });
    }
}

impl Inner {
    /// Reports. A panic of the user's reporter is caught.
    pub(super) fn report(&self, report: &Report<'_>) {
        let reported = catch_panic(|| {
            // The options are dropped in here, too: this may drop the reporter.
            let options = self.options();
            options.reporter.as_ref().map(|reporter| reporter(report)).is_some()
        });
        if self.guard.is_forked() {
            // A child that the reporter forked. The parent goes on with the report.
            return;
        }
        match reported {
            Ok(true) => {}
            Ok(false) => self.report_by_default(report),
            Err(panic) => {
                self.reporters_failed.fetch_add(1, Ordering::Relaxed);
                self.report_by_default(report);
                self.report_by_default(&Report { trouble: Trouble::ReporterPanicked(&panic), ..*report });
            }
        }
    }

    fn report_by_default(&self, report: &Report<'_>) {
        let panics = self.default_reports.report(report, self.seat, self.clock.coarse_ns());
        self.reporters_failed.fetch_add(panics, Ordering::Relaxed);
    }

    /// Writes the number of omitted reports, if it is due.
    #[inline]
    pub(super) fn tell_left_out_reports(&self) -> Result<()> {
        if self.default_reports.is_due(|| self.clock.coarse_ns()) {
            self.tell_left_out_reports_until(Until::Now);
            // A subscriber of `tracing` is users' code.
            self.guard.check()?;
        }
        Ok(())
    }

    #[cold]
    pub(super) fn tell_left_out_reports_until(&self, until: Until) {
        let panics = self.default_reports.tell_left_out(self.seat, self.clock.coarse_ns(), until);
        self.reporters_failed.fetch_add(panics, Ordering::Relaxed);
    }
}
