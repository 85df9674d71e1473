//! Splitting photos into train and validation.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::error::DatasetError;
use crate::{Dataset, Sample};

impl Dataset {
    /// Splits the photos into (train, validation), by item and without cutting a group.
    ///
    /// Of each item about `val_fraction` of the photos go to validation, and at least one where the
    /// item has two groups or more; every item keeps at least one group in train. A photo without a
    /// group is a group of its own. The split depends on the seed and on the set of samples, not on
    /// their order, and is the same on every machine. Splits named in the data play no part.
    ///
    /// # Errors
    /// [`DatasetError::BadFraction`] unless `0 <= val_fraction < 1`.
    pub fn split(&self, seed: u64, val_fraction: f64) -> Result<(Dataset, Dataset), DatasetError> {
        if !(0.0..1.0).contains(&val_fraction) {
            return Err(DatasetError::BadFraction(val_fraction.to_string()));
        }
        let mut samples: Vec<&Sample> = self.samples.iter().collect();
        samples.sort_by(|a, b| a.path.cmp(&b.path));
        let groups = shuffled_groups(&samples, seed);
        let mut quota = Quota::new(&groups, self.labels.len(), val_fraction);
        let mut in_val: Vec<bool> = groups
            .iter()
            .map(|group| quota.take_fitting(group))
            .collect();
        // Items whose groups are all larger than their share: the smallest that can be spared.
        for item in 0..self.labels.len() {
            if quota.wants_first(item) {
                let spare = (0..groups.len())
                    .filter(|&g| !in_val[g] && groups[g].count(item) > 0)
                    .filter(|&g| quota.can_spare(&groups[g]))
                    .min_by_key(|&g| groups[g].samples.len());
                if let Some(g) = spare {
                    quota.take(&groups[g]);
                    in_val[g] = true;
                }
            }
        }
        let side = |val: bool| {
            let mut picked: Vec<Sample> = groups
                .iter()
                .zip(&in_val)
                .filter(|(_, in_val)| **in_val == val)
                .flat_map(|(group, _)| group.samples.iter().map(|s| (*s).clone()))
                .collect();
            picked.sort_by(|a, b| a.path.cmp(&b.path));
            self.with(picked)
        };
        Ok((side(false), side(true)))
    }
}

/// Photos that stay together.
struct Group<'a> {
    samples: Vec<&'a Sample>,
    /// How many photos of each item; nearly always one item.
    counts: BTreeMap<usize, usize>,
}

impl Group<'_> {
    fn count(&self, item: usize) -> usize {
        self.counts.get(&item).copied().unwrap_or(0)
    }
}

fn shuffled_groups<'a>(samples: &[&'a Sample], seed: u64) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut place: BTreeMap<&str, usize> = BTreeMap::new();
    for &sample in samples {
        let next = groups.len();
        let g = match sample.group.as_deref() {
            Some(name) => *place.entry(name).or_insert(next),
            None => next,
        };
        if g == next {
            groups.push(Group {
                samples: Vec::new(),
                counts: BTreeMap::new(),
            });
        }
        groups[g].samples.push(sample);
        *groups[g].counts.entry(sample.item).or_default() += 1;
    }
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    // Sorting by random keys is a shuffle that no library version can change.
    let mut keyed: Vec<(u64, Group<'a>)> = groups
        .into_iter()
        .map(|group| (rng.next_u64(), group))
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, group)| group).collect()
}

/// What each item may still give to validation.
struct Quota {
    wanted: Vec<usize>,
    taken: Vec<usize>,
    groups_in_train: Vec<usize>,
}

impl Quota {
    fn new(groups: &[Group], items: usize, val_fraction: f64) -> Quota {
        let mut photos = vec![0_usize; items];
        let mut groups_in_train = vec![0; items];
        for group in groups {
            for (&item, &count) in &group.counts {
                photos[item] += count;
                groups_in_train[item] += 1;
            }
        }
        let wanted = (0..items)
            .map(
                |item| match (photos[item] as f64 * val_fraction).round() as usize {
                    0 if val_fraction > 0.0 && groups_in_train[item] >= 2 => 1,
                    share => share,
                },
            )
            .collect();
        Quota {
            wanted,
            taken: vec![0; items],
            groups_in_train,
        }
    }

    fn can_spare(&self, group: &Group) -> bool {
        group
            .counts
            .keys()
            .all(|&item| self.groups_in_train[item] >= 2)
    }

    fn wants_first(&self, item: usize) -> bool {
        self.wanted[item] > 0 && self.taken[item] == 0
    }

    /// Takes the group for validation if that overdraws no item; says whether it did.
    fn take_fitting(&mut self, group: &Group) -> bool {
        let fits = group
            .counts
            .iter()
            .all(|(&item, &n)| self.taken[item] + n <= self.wanted[item]);
        let take = fits && self.can_spare(group);
        if take {
            self.take(group);
        }
        take
    }

    fn take(&mut self, group: &Group) {
        for (&item, &count) in &group.counts {
            self.taken[item] += count;
            self.groups_in_train[item] -= 1;
        }
    }
}
