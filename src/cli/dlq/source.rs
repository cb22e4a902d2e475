//! Where letters come from: the pipeline's dead-letter queue.

use std::ops::ControlFlow;

use super::letter::Letter;
use crate::config::{Config, Pipeline};
use crate::error::{ErrorClass, Failure};

/// Placeholder in this branch.
pub(super) async fn browse(
    _config: &Config,
    _pipeline: &Pipeline,
    _look: impl FnMut(Letter) -> ControlFlow<()>,
) -> Result<usize, Failure> {
    Err(Failure::new(ErrorClass::Unknown, "feature", "not in this branch"))
}
