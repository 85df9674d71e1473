//! Which instructions a CPU has.

use std::fmt;

use crate::arch;

/// A set of instructions that kernels are written for, and that this CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Isa(pub(crate) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, VL, VNNI and VBMI.
    #[cfg(target_arch = "x86_64")]
    Vnni,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "aarch64")]
    DotProduct,
    /// With the dot product.
    #[cfg(target_arch = "aarch64")]
    Matrix,
}

impl Isa {
    /// Plain Rust, on every CPU.
    pub const PORTABLE: Isa = Isa(Kind::Portable);

    /// The best that this CPU has.
    pub fn detect() -> Isa {
        Isa::available().last().copied().unwrap_or(Isa::PORTABLE)
    }

    /// All that this CPU has, the best last.
    pub fn available() -> Vec<Isa> {
        #[allow(unused_mut, reason = "some targets have nothing to add")]
        let mut found = vec![Isa::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma");
            if avx2 {
                found.push(Isa(Kind::Avx2));
            }
            let avx512 = has!("avx512f") && has!("avx512bw") && has!("avx512vl");
            if avx2 && avx512 && has!("avx512vnni") && has!("avx512vbmi") {
                found.push(Isa(Kind::Vnni));
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            if std::arch::is_aarch64_feature_detected!("neon") {
                found.push(Isa(Kind::Neon));
            }
            let dot_product = std::arch::is_aarch64_feature_detected!("dotprod");
            if dot_product {
                found.push(Isa(Kind::DotProduct));
            }
            if dot_product && std::arch::is_aarch64_feature_detected!("i8mm") {
                found.push(Isa(Kind::Matrix));
            }
        }
        found
    }

    /// Whether it multiplies bytes with each other, or words.
    pub(crate) fn multiplies_bytes(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "aarch64")]
            Kind::Neon | Kind::DotProduct | Kind::Matrix => true,
            _ => false,
        }
    }

    /// Whether it multiplies four signed bytes with signed ones and adds them up in 32 bits.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn adds_signed_quads(self) -> bool {
        matches!(self.0, Kind::DotProduct | Kind::Matrix)
    }

    /// Whether it rounds the product and the sum of a multiply-add together.
    pub(crate) fn fuses(self) -> bool {
        self.0 != Kind::Portable
    }

    /// Whether it multiplies bytes that are added up in 16 bits faster than words.
    pub(crate) fn adds_pairs(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 | Kind::Vnni => true,
            _ => false,
        }
    }

    /// Whether it multiplies four unsigned bytes with signed ones and adds them up in 32 bits.
    pub(crate) fn adds_quads(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni => true,
            _ => false,
        }
    }

    /// Multiply-accumulates of 8 bits per second that one thread reaches when it does nothing else:
    /// the bar for the layers. Takes some tens of milliseconds.
    pub fn peak_macs_per_second(self) -> f64 {
        peak(|rounds| arch::products_alone(self, rounds))
    }

    /// As [`Isa::peak_macs_per_second`], of `f32`.
    pub fn peak_float_macs_per_second(self) -> f64 {
        peak(|rounds| arch::float::products_alone(self, rounds))
    }
}

fn peak(products_alone: impl Fn(usize) -> usize) -> f64 {
    const ROUNDS: usize = 1 << 15;
    let mut best = 0_f64;
    for _ in 0..200 {
        let start = std::time::Instant::now();
        let macs = products_alone(std::hint::black_box(ROUNDS));
        best = best.max(macs as f64 / start.elapsed().as_secs_f64());
    }
    best
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni => "AVX-512 VNNI",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "NEON",
            #[cfg(target_arch = "aarch64")]
            Kind::DotProduct => "NEON with dot product",
            #[cfg(target_arch = "aarch64")]
            Kind::Matrix => "NEON with i8mm",
        })
    }
}
