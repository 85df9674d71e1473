//! Settings as options: `--full-batch 16` is `batch = 16` under `[full]` of a config file.

use std::sync::LazyLock;

use clap::{ArgMatches, Command};
use toml::{Table, Value};

use super::{Freeze, TrainConfig};

/// The settings of a file's tables, each with its help. Those outside of tables have options of their
/// own in `train`.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("head.epochs", "Passes over the stored features"),
    (
        "head.patience",
        "Epochs without a better validation accuracy after which it ends; 0: never",
    ),
    ("head.batch", "Features per step"),
    ("head.lr", "Highest learning rate"),
    (
        "head.lr_floor",
        "Lowest learning rate, as a part of the highest",
    ),
    (
        "head.warmup",
        "Part of the steps in which the learning rate rises",
    ),
    ("head.schedule", "cosine, plateau or constant"),
    (
        "head.hold",
        "Cosine: part of the steps after the warm-up before it falls",
    ),
    ("head.cycles", "Cosine: how often it falls"),
    (
        "head.plateau_patience",
        "Plateau: epochs without a lower validation loss",
    ),
    (
        "head.plateau_factor",
        "Plateau: factor of the learning rate then",
    ),
    ("head.optimizer", "adamw, nadam or sgd"),
    ("head.weight_decay", "Weight decay of the classifier"),
    (
        "head.clip_norm",
        "Longer gradients are shortened to this; 0: never",
    ),
    (
        "head.ema",
        "Decay of the moving average of the weights that is kept; 0: none",
    ),
    (
        "head.label_smoothing",
        "Part of each label spread over all items",
    ),
    (
        "head.balance",
        "none, weights or sampling: what is done about items with few photos",
    ),
    (
        "head.views",
        "Views of a photo: 1 plain, 2 with its mirror image, more augmented",
    ),
    (
        "head.standardize",
        "Scale every feature to mean 0 and deviation 1",
    ),
    (
        "head.discriminant",
        "How much of a linear discriminant is added to the classifier",
    ),
    ("full.epochs", "Passes over the photos"),
    (
        "full.patience",
        "Epochs without a better validation accuracy after which it ends; 0: never",
    ),
    ("full.batch", "Photos per step"),
    ("full.lr", "Highest learning rate"),
    (
        "full.lr_floor",
        "Lowest learning rate, as a part of the highest",
    ),
    (
        "full.warmup",
        "Part of the steps in which the learning rate rises",
    ),
    ("full.schedule", "cosine, plateau or constant"),
    (
        "full.hold",
        "Cosine: part of the steps after the warm-up before it falls",
    ),
    ("full.cycles", "Cosine: how often it falls"),
    (
        "full.plateau_patience",
        "Plateau: epochs without a lower validation loss",
    ),
    (
        "full.plateau_factor",
        "Plateau: factor of the learning rate then",
    ),
    ("full.optimizer", "adamw, nadam or sgd"),
    (
        "full.weight_decay",
        "Weight decay of convolutions and dense layers",
    ),
    (
        "full.clip_norm",
        "Longer gradients are shortened to this; 0: never",
    ),
    (
        "full.ema",
        "Decay of the moving average of the weights that is kept; 0: none",
    ),
    (
        "full.label_smoothing",
        "Part of each label spread over all items",
    ),
    (
        "full.balance",
        "none, weights or sampling: what is done about items with few photos",
    ),
    (
        "full.shards",
        "Parts of a batch whose gradients are added up; more need no more memory",
    ),
    (
        "full.freeze_norms",
        "Normalise by the running statistics and leave them as they are",
    ),
    (
        "full.norm_momentum",
        "How far running statistics move per step",
    ),
    (
        "full.views",
        "With --freeze NODE: views of a photo that are stored there",
    ),
    (
        "full.thaw_epochs",
        "Epochs after which one more stage of the network learns, from the classifier on; 0: all do",
    ),
    (
        "full.stage_decay",
        "Learning rate of a stage of the network as a part of that of the next one",
    ),
    (
        "full.refit",
        "After a frozen backbone: at the end train the classifier again, on the new features",
    ),
    (
        "augment.horizontal_flip",
        "Probability of mirroring left and right",
    ),
    (
        "augment.vertical_flip",
        "Probability of mirroring top and bottom",
    ),
    (
        "augment.quarter_turns",
        "Probability of a turn by 90, 180 or 270 degrees",
    ),
    ("augment.rotation", "Probability of a turn by any angle"),
    (
        "augment.rotation_degrees",
        "Largest such angle, to both sides",
    ),
    (
        "augment.crop",
        "Probability of a crop, which is scaled to the size of the whole",
    ),
    (
        "augment.min_area",
        "Crops keep at least this part of the area",
    ),
    (
        "augment.max_stretch",
        "Crops are stretched by at most this factor",
    ),
    (
        "augment.brightness",
        "Brightness changes by up to this part",
    ),
    ("augment.contrast", "Contrast changes by up to this part"),
    (
        "augment.saturation",
        "Saturation changes by up to this part",
    ),
    ("augment.belt", "Probability that padding looks like a belt"),
    ("augment.erase", "Probability that a part is hidden"),
    ("augment.erase_area", "Largest such part of the area"),
    (
        "augment.blur",
        "Probability of a blur along the rows, as of a moving belt",
    ),
    (
        "augment.blur_length",
        "Its largest length, as a part of the side",
    ),
    ("augment.jpeg", "Probability of JPEG compression"),
    ("augment.jpeg_quality", "Its lowest quality, 1 to 95"),
    (
        "augment.mixup",
        "Beta parameter of the share of another photo in every pixel; 0: none",
    ),
    (
        "augment.cutmix",
        "Beta parameter of the share of the area from another photo; 0: none",
    ),
];

/// The option of each setting.
static OPTIONS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let option = |(key, _): &(&str, &str)| key.replace(['.', '_'], "-");
    SETTINGS.iter().map(option).collect()
});

/// The options that were given, as the tables of a config file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(pub(crate) Table);

impl clap::Args for Settings {
    fn augment_args(command: Command) -> Command {
        // By way of the text: a table would show an f32 with the digits of an f64.
        let table = |freeze| {
            let config = TrainConfig::defaults("mobilenet-v2".into(), 224, "".into(), freeze);
            let text = config.to_toml().unwrap_or_default();
            text.parse::<Table>().unwrap_or_default()
        };
        let tables = [table(Freeze::Backbone), table(Freeze::None)];
        let settings = SETTINGS.iter().zip(OPTIONS.iter());
        settings.fold(command, |command, ((key, help), option)| {
            let [frozen, whole] = [&tables[0], &tables[1]]
                .map(|table| lookup(table, key).map_or_else(String::new, Value::to_string));
            let default = match frozen == whole {
                true => frozen,
                false => format!("{whole}, after a frozen backbone {frozen}"),
            };
            command.arg(
                clap::Arg::new(*key)
                    .long(option.as_str())
                    .value_name("VALUE")
                    .help(format!("{help} [default: {}]", default.replace('"', "")))
                    .help_heading(
                        "Settings of the stages and of augmentation, as in --config FILE",
                    ),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Settings, clap::Error> {
        let mut settings = Settings::default();
        settings.update_from_arg_matches(matches)?;
        Ok(settings)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (key, _) in SETTINGS {
            if let Some(text) = matches.get_one::<String>(key) {
                insert(&mut self.0, key, value(text));
            }
        }
        Ok(())
    }
}

/// A number or a truth value as TOML writes them, else a word.
fn value(text: &str) -> Value {
    let table = format!("value = {text}").parse::<Table>();
    let value = table.ok().and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// The value of a dotted key.
fn lookup<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((name, rest)) => lookup(table.get(name)?.as_table()?, rest),
        None => table.get(key),
    }
}

/// Sets a dotted key.
pub(crate) fn insert(table: &mut Table, key: &str, value: Value) {
    let (name, value) = match key.split_once('.') {
        Some((name, rest)) => {
            let mut inner = Table::new();
            insert(&mut inner, rest, value);
            (name, Value::Table(inner))
        }
        None => (key, value),
    };
    merge(table, Table::from_iter([(name.to_owned(), value)]));
}

/// Puts everything that `changes` has in the place of what `table` has.
pub(crate) fn merge(table: &mut Table, changes: Table) {
    for (key, value) in changes {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(changes)) => merge(inner, changes),
            (_, value) => drop(table.insert(key, value)),
        }
    }
}

/// Every value with its dotted key.
pub(super) fn leaves(table: &Table) -> Vec<(String, Value)> {
    let inner = |(key, value): (&String, &Value)| match value {
        Value::Table(inner) => leaves(inner)
            .into_iter()
            .map(|(rest, value)| (format!("{key}.{rest}"), value))
            .collect(),
        value => vec![(key.clone(), value.clone())],
    };
    table.iter().flat_map(inner).collect()
}

/// A key of `table` that `known` does not have.
pub(super) fn unknown(table: &Table, known: &Table) -> Option<String> {
    table
        .iter()
        .find_map(|(key, value)| match (value, known.get(key)) {
            (_, None) => Some(key.clone()),
            (Value::Table(inner), Some(Value::Table(known))) => {
                unknown(inner, known).map(|rest| format!("{key}.{rest}"))
            }
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn options_are_the_tables_of_a_file() {
        let given = [
            "x",
            "--full-lr",
            "0.5",
            "--head-schedule",
            "plateau",
            "--full-freeze-norms",
            "true",
            "--augment-jpeg-quality=30",
        ];
        let Settings(table) = Cli::try_parse_from(given).unwrap().settings;
        let expected = "head.schedule = 'plateau'\naugment.jpeg_quality = 30\n\
                        [full]\nlr = 0.5\nfreeze_norms = true";
        assert_eq!(table, expected.parse::<Table>().unwrap());
        assert!(Cli::try_parse_from(["x", "--full-speed", "1"]).is_err());
    }

    #[test]
    fn help_tells_the_defaults() {
        let help = <Cli as clap::CommandFactory>::command().render_long_help();
        let help = help
            .to_string()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        for default in [
            "[default: 64, after a frozen backbone 32]",
            "[default: 0.15]",
            "[default: adamw]",
        ] {
            assert!(help.contains(default), "{default} is not in: {help}");
        }
    }

    #[test]
    fn changes_replace_what_they_name() {
        let mut table: Table = "a = 1\n[b]\nc = 2\nd = 3".parse().unwrap();
        merge(&mut table, "b.c = 'x'\ne = true".parse().unwrap());
        assert_eq!(
            table,
            "a = 1\ne = true\n[b]\nc = 'x'\nd = 3".parse().unwrap()
        );
    }
}
