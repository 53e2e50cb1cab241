/*
 * stats.h - the few statistics that a comparison needs. Pure functions of numbers; nothing here knows what they measure.
 */
#ifndef RINGSIDE_PROFILER_STATS_H
#define RINGSIDE_PROFILER_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Two-sided Mann-Whitney U test, normal approximation with continuity and tie correction. */
struct mann_whitney {
	double z;           /* positive: b tends to be larger */
	double p;           /* 1 when nothing can be said: an empty sample, or all values equal */
	double superiority; /* probability that a value of b is larger than one of a, ties counted half; 0.5 is no difference */
};

/* Both samples in ascending order; each may have up to 2^32 values. */
struct mann_whitney stats_mann_whitney(const uint32_t *a, size_t na, const uint32_t *b, size_t nb);

/*
 * The same of few values in any order, without approximation: p is how often chance alone gives a U at least as far to the side to which b lies. So it is
 * one-sided: at a level of alpha b is called larger in at most alpha of all cases where nothing differs, and smaller as often. Ties are rounded in
 * favour of chance. z is not set.
 */
#define STATS_EXACT_SIDE 64 /* values of a side at most */
struct mann_whitney stats_mann_whitney_exact(const double *a, size_t na, const double *b, size_t nb);

/* Adjust p values for being many, in place: then each may be compared with alpha. */
enum stats_correction { CORRECT_HOLM, CORRECT_BH, CORRECT_NONE };
int stats_correct(double *p, size_t n, enum stats_correction how); /* 0 or -ENOMEM */

/* How often chance alone puts all of n values above all of m others: 1 / binomial(n + m, n). */
double stats_chance_apart(size_t n, size_t m);

/* The smallest value that at least p percent (1..100) do not exceed. a ascending, n >= 1. */
uint32_t stats_percentile(const uint32_t *a, size_t n, unsigned percent);

/* 95 % confidence interval of the median, by order statistics: makes no assumption about the distribution. a ascending, n >= 1. */
struct interval {
	uint32_t low, high;
};
struct interval stats_median_interval(const uint32_t *a, size_t n);

/* Median of n >= 1 values in any order; they are sorted. */
double stats_median(double *values, size_t n);

/*
 * Where a series changes its level: index of the first value of the new level, or 0 when it never does. Of all splits
 * with at least `side` values on both sides the one that a rank test finds most telling counts, if p of that test,
 * corrected for the number of splits, is below alpha and the medians differ by the fraction `effect` or more.
 * At most STATS_SERIES_MAX values are looked at, the last ones. -ENOMEM is not possible: no memory is taken.
 */
#define STATS_SERIES_MAX 512
size_t stats_step(const double *values, size_t n, size_t side, double alpha, double effect);

#endif
