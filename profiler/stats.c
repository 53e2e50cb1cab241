/*
 * stats.c - rank statistics (see stats.h). Costs of events are skewed, spiked and tied, so nothing here assumes a normal distribution of them.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/stats.h"

/* Rank sum of b (counted double, to stay whole), and the sum of t^3 - t over groups of tied values. */
struct ranks {
	double sum_b, ties;
};

static struct ranks rank_both(const uint32_t *a, size_t na, const uint32_t *b, size_t nb)
{
	struct ranks r = { 0, 0 };
	size_t i = 0, j = 0;

	while (i < na || j < nb) {
		uint32_t value = j == nb || (i < na && a[i] < b[j]) ? a[i] : b[j];
		size_t i0 = i, j0 = j;
		double before = (double)(i + j), t;

		while (i < na && a[i] == value)
			i++;
		while (j < nb && b[j] == value)
			j++;
		t = (double)(i - i0 + j - j0);
		r.sum_b += (double)(j - j0) * (before + (t + 1) / 2);
		r.ties += t * t * t - t;
	}
	return r;
}

struct mann_whitney stats_mann_whitney(const uint32_t *a, size_t na, const uint32_t *b, size_t nb)
{
	struct mann_whitney out = { .z = 0, .p = 1, .superiority = 0.5 };
	double m = (double)na, n = (double)nb, all = m + n, u, off, variance;
	struct ranks r;

	if (!na || !nb)
		return out;
	r = rank_both(a, na, b, nb);
	u = r.sum_b - n * (n + 1) / 2;
	out.superiority = u / (m * n);
	variance = m * n / 12 * (all + 1 - r.ties / (all * (all - 1)));
	if (!(variance > 0))
		return out;
	off = u - m * n / 2;
	/* half a step towards the middle: the normal distribution is continuous, U is not */
	off = off > 0.5 ? off - 0.5 : off < -0.5 ? off + 0.5 : 0;
	out.z = off / sqrt(variance);
	out.p = erfc(fabs(out.z) / sqrt(2));
	return out;
}

static double at_most_one(double p)
{
	return p < 1 ? p : 1;
}

/* b's advantage over a: pairs in which it is larger, ties counted half. */
static double pairs_won(const double *a, size_t na, const double *b, size_t nb)
{
	double won = 0;

	for (size_t i = 0; i < na; i++)
		for (size_t j = 0; j < nb; j++)
			won += b[j] > a[i] ? 1 : b[j] == a[i] ? 0.5 : 0;
	return won;
}

/*
 * Of all orders of n + m values those in which U is u or less, as a fraction. The number of orders by U is the coefficient of a Gaussian binomial: the product
 * over i = 1..n of (1 - q^(m + i)) / (1 - q^i), multiplied out up to q^u.
 */
static double orders_up_to(size_t n, size_t m, size_t u)
{
	double ways[STATS_EXACT_SIDE * STATS_EXACT_SIDE + 1] = { 1 }, sum = 0;

	for (size_t i = 1; i <= n; i++) {
		for (size_t k = u + 1; k-- > m + i;)
			ways[k] -= ways[k - m - i];
		for (size_t k = i; k <= u; k++)
			ways[k] += ways[k - i];
	}
	for (size_t k = 0; k <= u; k++)
		sum += ways[k];
	return sum * stats_chance_apart(n, m);
}

struct mann_whitney stats_mann_whitney_exact(const double *a, size_t na, const double *b, size_t nb)
{
	struct mann_whitney out = { .z = 0, .p = 1, .superiority = 0.5 };
	double won, far;

	if (!na || !nb || na > STATS_EXACT_SIDE || nb > STATS_EXACT_SIDE)
		return out;
	won = pairs_won(a, na, b, nb);
	far = (double)(na * nb) - won;
	far = far < won ? far : won;
	out.superiority = won / (double)(na * nb);
	out.p = at_most_one(orders_up_to(na, nb, (size_t)ceil(far)));
	return out;
}

struct ordered_p {
	double p;
	size_t at;
};

static int compare_p(const void *a, const void *b)
{
	const struct ordered_p *x = a, *y = b;

	return x->p < y->p ? -1 : x->p > y->p ? 1 : x->at < y->at ? -1 : 1;
}

/* Step down from the smallest: each is multiplied by how many are left, and none is below the one before. */
static void holm(const struct ordered_p *sorted, double *p, size_t n)
{
	double floor_ = 0;

	for (size_t i = 0; i < n; i++) {
		double q = at_most_one(sorted[i].p * (double)(n - i));

		floor_ = q > floor_ ? q : floor_;
		p[sorted[i].at] = floor_;
	}
}

/* Step up from the largest (Benjamini and Hochberg): none is above the one after. */
static void benjamini_hochberg(const struct ordered_p *sorted, double *p, size_t n)
{
	double ceiling = 1;

	for (size_t i = n; i-- > 0;) {
		double q = at_most_one(sorted[i].p * (double)n / (double)(i + 1));

		ceiling = q < ceiling ? q : ceiling;
		p[sorted[i].at] = ceiling;
	}
}

int stats_correct(double *p, size_t n, enum stats_correction how)
{
	struct ordered_p *sorted;

	if (how == CORRECT_NONE || !n)
		return 0;
	sorted = calloc(n, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		sorted[i] = (struct ordered_p){ p[i], i };
	qsort(sorted, n, sizeof(*sorted), compare_p);
	(how == CORRECT_HOLM ? holm : benjamini_hochberg)(sorted, p, n);
	free(sorted);
	return 0;
}

double stats_chance_apart(size_t n, size_t m)
{
	double p = 1;

	for (size_t i = 1; i <= n; i++)
		p *= (double)i / (double)(m + i);
	return p;
}

uint32_t stats_percentile(const uint32_t *a, size_t n, unsigned percent)
{
	size_t rank = (size_t)(((unsigned __int128)n * percent + 99) / 100);

	return a[rank ? rank - 1 : 0];
}

#define EXACT_MAX 200 /* of more values the normal approximation is as good */

/*
 * How many values may be left out at each end: the median lies outside of the others with a probability of
 * 2 * P(binomial(n, 1/2) <= k - 1), which must not exceed 5 %. None of fewer than six.
 */
static size_t left_out(size_t n)
{
	double term = ldexp(1, -(int)n), tail = 0;
	size_t k = 0;

	while (2 * (tail + term) <= 0.05) {
		tail += term;
		term *= (double)(n - k) / (double)(k + 1);
		k++;
	}
	return k ? k - 1 : 0;
}

static struct interval approximate_interval(const uint32_t *a, size_t n)
{
	double middle = (double)n / 2, half = 0.98 * sqrt((double)n); /* 1.96 standard deviations of a binomial(n, 1/2) */
	double low = floor(middle - half), high = ceil(middle + half);

	return (struct interval){ a[low < 0 ? 0 : (size_t)low], a[high >= (double)n ? n - 1 : (size_t)high] };
}

struct interval stats_median_interval(const uint32_t *a, size_t n)
{
	if (n <= EXACT_MAX)
		return (struct interval){ a[left_out(n)], a[n - 1 - left_out(n)] };
	return approximate_interval(a, n);
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double stats_median(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), compare_double);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* ---- steps ------------------------------------------------------------------------------------------------- */

/* Values as ranks (ties share one), so that the test above can take them. */
static void to_ranks(const double *values, size_t n, uint32_t *rank)
{
	double sorted[STATS_SERIES_MAX];

	memcpy(sorted, values, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_double);
	for (size_t i = 0; i < n; i++) {
		size_t low = 0, high = n;

		while (low < high) {
			size_t middle = (low + high) / 2;

			if (sorted[middle] < values[i])
				low = middle + 1;
			else
				high = middle;
		}
		rank[i] = (uint32_t)low;
	}
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double split_p(const uint32_t *rank, size_t n, size_t at)
{
	uint32_t a[STATS_SERIES_MAX], b[STATS_SERIES_MAX];

	memcpy(a, rank, at * sizeof(*a));
	memcpy(b, rank + at, (n - at) * sizeof(*b));
	qsort(a, at, sizeof(*a), compare_u32);
	qsort(b, n - at, sizeof(*b), compare_u32);
	return stats_mann_whitney(a, at, b, n - at).p;
}

static double median_of(const double *values, size_t n)
{
	double copy[STATS_SERIES_MAX];

	memcpy(copy, values, n * sizeof(*copy));
	return stats_median(copy, n);
}

size_t stats_step(const double *values, size_t n, size_t side, double alpha, double effect)
{
	size_t skipped = n > STATS_SERIES_MAX ? n - STATS_SERIES_MAX : 0, best = 0;
	uint32_t rank[STATS_SERIES_MAX];
	double least = 2, before, after;

	values += skipped;
	n -= skipped;
	side = side ? side : 1;
	if (n < 2 * side)
		return 0;
	to_ranks(values, n, rank);
	for (size_t at = side; at + side <= n; at++) {
		double p = split_p(rank, n, at);

		if (p < least) {
			least = p;
			best = at;
		}
	}
	before = median_of(values, best);
	after = median_of(values + best, n - best);
	if (least * (double)(n - 2 * side + 1) >= alpha || fabs(after - before) < effect * fabs(before))
		return 0;
	return skipped + best;
}
