//! NAdam, which burn does not have.

use burn::optim::{Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor, TensorData};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
const MOMENTUM_DECAY: f64 = 0.004;

/// Adam with Nesterov momentum (Dozat, "Incorporating Nesterov Momentum into Adam", 2016) in PyTorch's
/// form, with decoupled weight decay.
#[derive(Clone)]
pub(crate) struct NAdam {
    pub(crate) weight_decay: f64,
}

/// What is kept of a parameter's gradients.
#[derive(Clone)]
pub(crate) struct NAdamState<const D: usize> {
    steps: f64,
    /// Product of the momenta of all steps.
    momenta: f64,
    moment_1: Tensor<D>,
    moment_2: Tensor<D>,
}

/// The momentum of a step, counted from 1: it grows towards beta 1.
fn momentum(step: f64) -> f64 {
    BETA_1 * (1.0 - 0.5 * 0.96f64.powf(step * MOMENTUM_DECAY))
}

impl Optimizer for NAdam {
    type State<const D: usize> = NAdamState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<NAdamState<D>>,
    ) -> (Tensor<D>, Option<NAdamState<D>>) {
        let state = state.unwrap_or_else(|| NAdamState {
            steps: 0.0,
            momenta: 1.0,
            moment_1: grad.zeros_like(),
            moment_2: grad.zeros_like(),
        });
        let steps = state.steps + 1.0;
        let (now, next) = (momentum(steps), momentum(steps + 1.0));
        let momenta = state.momenta * now;
        let moment_1 = state.moment_1 * BETA_1 + grad.clone() * (1.0 - BETA_1);
        let moment_2 = state.moment_2 * BETA_2 + grad.clone().square() * (1.0 - BETA_2);
        let unbiased = moment_2.clone() / (1.0 - BETA_2.powf(steps));
        let ahead = grad * ((1.0 - now) / (1.0 - momenta))
            + moment_1.clone() * (next / (1.0 - momenta * next));
        let change = ahead / (unbiased.sqrt() + EPSILON);
        let tensor = tensor * (1.0 - lr * self.weight_decay) - change * lr;
        let state = NAdamState {
            steps,
            momenta,
            moment_1,
            moment_2,
        };
        (tensor, Some(state))
    }

    fn to_device<const D: usize>(state: NAdamState<D>, device: &Device) -> NAdamState<D> {
        NAdamState {
            moment_1: state.moment_1.to_device(device),
            moment_2: state.moment_2.to_device(device),
            ..state
        }
    }
}

impl<const D: usize> RecordState for NAdamState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        let clock = TensorData::new(vec![self.steps, self.momenta], [2]);
        out.push_tensor(prefix, "clock", clock);
        out.push_tensor(prefix, "moment_1", self.moment_1.to_data());
        out.push_tensor(prefix, "moment_2", self.moment_2.to_data());
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        let clock = src.take_tensor(prefix, "clock")?;
        let [steps, momenta] = clock.try_into_vec::<f64>().ok()?[..] else {
            return None;
        };
        let mut tensor = |leaf: &str| {
            let data = src.take_tensor(prefix, leaf)?;
            Some(Tensor::from_data(data, device))
        };
        Some(NAdamState {
            steps,
            momenta,
            moment_1: tensor("moment_1")?,
            moment_2: tensor("moment_2")?,
        })
    }
}
