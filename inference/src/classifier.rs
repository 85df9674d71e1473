//! A network ready to run.

use std::sync::Arc;

use models::{Bundle, LabelSet, Preprocessor, Region, RgbView};
use tract_onnx::prelude::*;

use kernels::cores;

use crate::quiet::quietly;
use crate::verdict::{Judge, Verdict};
use crate::{InferenceError, LayerTime, network, profile, region};

/// Classifies frames with the network of a bundle.
///
/// It can be sent to another thread; for several threads make one each. After the first frame a call
/// allocates nothing but what tract itself does.
pub struct Classifier {
    labels: LabelSet,
    preprocessor: Preprocessor,
    plan: Arc<TypedRunnableModel>,
    state: TypedSimpleState,
    /// `[1, 3, S, S]`; lent to tract during a run.
    input: Arc<Tensor>,
    judge: Judge,
    verdict: Verdict,
    /// Of the thread that classifies, until it has come.
    core: Option<usize>,
}

impl Classifier {
    /// Loads and optimises the network. What tract computes of it is run once, to see that it does.
    ///
    /// Each frame is computed on `threads` threads. The scores do not depend on it.
    ///
    /// # Errors
    /// The manifest is not valid, the network is no ONNX of a classifier, or it does not fit the
    /// manifest. Any bytes whatever give a classifier or an error.
    pub fn new(bundle: &Bundle, threads: usize) -> Result<Classifier, InferenceError> {
        let manifest = &bundle.manifest;
        manifest.check()?;
        let preprocessor = Preprocessor::new(manifest.preprocess)?;
        let size = manifest.preprocess.size as usize;
        let plan = network::load(&bundle.onnx, size, manifest.labels.len(), threads)?;
        let judge = Judge::new(manifest);
        let verdict = judge.blank();
        quietly(move || {
            let input = Tensor::zero::<f32>(&[1, 3, size, size]).map_err(run_error)?;
            let state = plan.spawn().map_err(run_error)?;
            let mut classifier = Classifier {
                labels: manifest.labels.clone(),
                preprocessor,
                plan,
                state,
                input: Arc::new(input),
                judge,
                verdict,
                core: None,
            };
            if !region::are_all(classifier.plan.model()) {
                classifier.run()?;
            }
            Ok(classifier)
        })
        .map_err(InferenceError::Network)?
    }

    /// As [`Classifier::new`], on as many threads as there are `cores`, each kept on its own; the
    /// thread that classifies first is the first of them.
    ///
    /// # Errors
    /// As [`Classifier::new`], or there is no such core for this program.
    pub fn pinned(bundle: &Bundle, cores: &[usize]) -> Result<Classifier, InferenceError> {
        let refuse = |why: String| InferenceError::Cores(cores.to_vec(), why);
        let allowed = cores::allowed().map_err(|error| refuse(error.to_string()))?;
        if let Some(core) = cores.iter().find(|core| !allowed.contains(core)) {
            return Err(refuse(format!("this program may not use {core}")));
        }
        let classifier = cores::on(cores, || Classifier::new(bundle, cores.len()))?;
        let core = cores.first().copied();
        Ok(Classifier { core, ..classifier })
    }

    /// The label set that the scores are about.
    pub fn labels(&self) -> &LabelSet {
        &self.labels
    }

    /// Classifies a frame, or the region of it that shows one item.
    ///
    /// # Errors
    /// The region does not lie in the frame, or the network failed.
    pub fn classify(
        &mut self,
        view: RgbView<'_>,
        region: Option<Region>,
    ) -> Result<&Verdict, InferenceError> {
        let preprocessor = &mut self.preprocessor;
        write(&mut self.input, |input| {
            Ok(preprocessor.tensor(view, region, input)?)
        })?;
        self.run()
    }

    /// Classifies a preprocessed frame: channels x rows x columns, as `Preprocessor::tensor` gives.
    ///
    /// # Errors
    /// The length is not that of the network's input, or the network failed.
    pub fn classify_tensor(&mut self, values: &[f32]) -> Result<&Verdict, InferenceError> {
        write(&mut self.input, |input| {
            if values.len() != input.len() {
                let (expected, found) = (input.len(), values.len());
                return Err(InferenceError::TensorLength { expected, found });
            }
            input.copy_from_slice(values);
            Ok(())
        })?;
        self.run()
    }

    /// Runs a frame of zeros and says what each layer took, in the order in which they ran.
    ///
    /// # Errors
    /// The network failed.
    pub fn profile(&mut self) -> Result<Vec<LayerTime>, InferenceError> {
        write(&mut self.input, |input| {
            input.fill(0.0);
            Ok(())
        })?;
        let input = Arc::clone(&self.input).into_tvalue();
        profile::run(&mut self.state, input).map_err(run_error)
    }

    fn run(&mut self) -> Result<&Verdict, InferenceError> {
        if let Some(core) = self.core.take() {
            let refuse =
                |error: std::io::Error| InferenceError::Cores(vec![core], error.to_string());
            cores::pin(core).map_err(refuse)?;
        }
        let input = Arc::clone(&self.input).into_tvalue();
        let outputs = match self.state.run(tvec!(input)) {
            Ok(outputs) => outputs,
            Err(error) => {
                // A run that broke off leaves its intermediate values behind.
                self.state = self.plan.spawn().map_err(run_error)?;
                return Err(run_error(error));
            }
        };
        let plain = outputs[0].try_as_plain_ram().map_err(run_error)?;
        let logits = plain.as_slice::<f32>().map_err(run_error)?;
        if logits.len() != self.labels.len() {
            return Err(InferenceError::Run(
                "its output has another shape".to_owned(),
            ));
        }
        self.judge.judge(logits, &mut self.verdict);
        Ok(&self.verdict)
    }
}

/// Lends the input's values to `fill`; a copy is made only if tract still holds the last ones.
fn write(
    input: &mut Arc<Tensor>,
    fill: impl FnOnce(&mut [f32]) -> Result<(), InferenceError>,
) -> Result<(), InferenceError> {
    let mut plain = Arc::make_mut(input)
        .try_as_plain_ram_mut()
        .map_err(run_error)?;
    fill(plain.as_slice_mut().map_err(run_error)?)
}

fn run_error(error: TractError) -> InferenceError {
    InferenceError::Run(network::reason(&error))
}
