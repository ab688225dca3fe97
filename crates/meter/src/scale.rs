//! Axes: from a figure to a place in a drawing, and where the ticks are.

/// From the least figure to the largest, by itself or by its logarithm.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    /// Spans `figures`: by logarithms where all are above 0 and far apart, from 0
    /// (or the least) else.
    pub(crate) fn over(figures: impl Iterator<Item = f64> + Clone) -> Self {
        let figures = figures.filter(|figure| figure.is_finite());
        let low = figures.clone().fold(f64::INFINITY, f64::min);
        let high = figures.fold(f64::NEG_INFINITY, f64::max);
        if !low.is_finite() {
            return Self { low: 0.0, high: 1.0, logarithmic: false };
        }
        if low > 0.0 && high >= 8.0 * low {
            return Self { low, high, logarithmic: true };
        }
        let (low, high) = (low.min(0.0), high.max(0.0));
        // A span of nothing has no places.
        Self { low, high: if high > low { high } else { low + 1.0 }, logarithmic: false }
    }

    /// The same, widened to powers of two, so that ticks have round names.
    pub(crate) fn widened(self) -> Self {
        if !self.logarithmic {
            return Self { high: nice(self.high), ..self };
        }
        Self { low: self.low.log2().floor().exp2(), high: self.high.log2().ceil().exp2(), ..self }
    }

    /// 0 at the least figure, 1 at the largest; what lies outside is at the edge.
    pub(crate) fn place(self, figure: f64) -> f64 {
        let Self { low, high, logarithmic } = self;
        let place = if logarithmic {
            (figure.max(low) / low).log2() / (high / low).log2()
        } else {
            (figure - low) / (high - low)
        };
        place.clamp(0.0, 1.0)
    }

    /// At most five figures, round ones.
    pub(crate) fn ticks(self) -> Vec<f64> {
        let Self { low, high, logarithmic } = self;
        if !logarithmic {
            return [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| low + part * (high - low)).to_vec();
        }
        let (first, last) = (low.log2().ceil(), high.log2().floor());
        let step = ((last - first) / 4.0).ceil().max(1.0);
        let ticks = (0..5).map(|i| first + f64::from(i) * step);
        ticks.take_while(|tick| *tick <= last).map(f64::exp2).collect()
    }

    /// `count` figures in even steps of the drawing, both ends included.
    pub(crate) fn steps(self, count: u32) -> impl Iterator<Item = f64> {
        let Self { low, high, logarithmic } = self;
        (0..=count).map(move |i| {
            let part = f64::from(i) / f64::from(count);
            if logarithmic { low * (high / low).powf(part) } else { low + part * (high - low) }
        })
    }
}

/// The next of 1, 2, 4 times a power of ten, or for bytes of 1,024: a quarter of
/// it has a short name.
fn nice(high: f64) -> f64 {
    let base = if high >= 1024.0 { 1024_f64.powf(high.log(1024.0).floor()) } else { 1.0 };
    let scaled = (high / base).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(scaled.log10().floor());
    let round = [1.0, 2.0, 4.0, 8.0, 10.0].into_iter().find(|round| round * power >= scaled);
    round.unwrap_or(10.0) * power * base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_are_far_apart_are_placed_by_their_logarithms() {
        let scale = Scale::over([1.0, 16.0, 256.0].into_iter());
        assert_eq!([1.0, 16.0, 256.0].map(|figure| scale.place(figure)), [0.0, 0.5, 1.0]);
        assert_eq!((scale.place(0.0), scale.place(1e9)), (0.0, 1.0));
        assert_eq!(scale.ticks(), [1.0, 4.0, 16.0, 64.0, 256.0]);
        assert_eq!(scale.steps(2).collect::<Vec<_>>(), [1.0, 16.0, 256.0]);
    }

    #[test]
    fn figures_that_are_close_negative_or_the_same_begin_at_0() {
        let scale = Scale::over([300.0, 400.0].into_iter()).widened();
        assert_eq!((scale.place(0.0), scale.place(200.0)), (0.0, 0.5));
        assert_eq!(Scale::over([-1.0, 3.0].into_iter()).place(0.0), 0.25);
        assert_eq!(Scale::over([0.0].into_iter()).place(0.0), 0.0);
        assert_eq!(Scale::over([f64::NAN].into_iter()).place(0.5), 0.5);
    }

    #[test]
    fn bytes_have_ticks_with_short_names() {
        assert_eq!(Scale::over([199_000.0].into_iter()).widened().ticks()[4], 204_800.0);
        let scale = Scale::over([120_000.0, 1.3e8].into_iter()).widened();
        assert_eq!((scale.low, scale.high), (65_536.0, 134_217_728.0));
        assert!(scale.ticks().len() <= 5);
    }
}
