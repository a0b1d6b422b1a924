// SPDX-License-Identifier: GPL-2.0
/*
 * Rows and tables.
 *
 * A row goes out as soon as it is measured, as a line that starts with the
 * name of the file it belongs to and a tab; ci/bench takes them from there.
 * The tables for people come at the end.
 */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "bench.h"

#define AIM_SHALLOW	4700	/* instructions per I/O, one in flight */
#define AIM_DEEP	1800	/* 32 in flight */

#define MAX_ROWS	512

/* Spread, in parts of the median, from which a figure is marked. */
#define UNSTEADY	20

struct row {
	const struct bench_method *method;
	uint32_t size;
	uint32_t depth;
	bool polled;
	bool counted;		/* calls is filled, else figure */
	struct bench_figure figure;
	struct bench_calls calls;
};

static struct row rows[MAX_ROWS];
static unsigned int nr_rows;
static int failures;
static char topology[64];
static struct utsname host;

static const char *polled_suffix(bool polled)
{
	return polled ? "-iopoll" : "";
}

void bench_report_init(const char *name)
{
	const char *last = strrchr(name, '/');

	snprintf(topology, sizeof(topology), "%s", last ? last + 1 : name);
	uname(&host);
}

static struct row *add_row(const struct bench_run *run)
{
	struct row *row = &rows[nr_rows];

	if (nr_rows < MAX_ROWS - 1)
		nr_rows++;
	*row = (struct row){
		.method = run->method,
		.size = run->size,
		.depth = run->depth,
		.polled = run->polled,
	};
	return row;
}

/* The NOP is no row of the file: it is no way to get data. */
void bench_report_figure(const struct bench_run *run,
			 const struct bench_figure *figure)
{
	add_row(run)->figure = *figure;
	if (run->method == &bench_nop)
		return;
	printf("results.tsv\t%s%s\t%u\t%u\t%s\t%llu\t%llu-%llu\t%s\n",
	       run->method->name, polled_suffix(run->polled), run->size,
	       run->depth, topology, (unsigned long long)figure->median,
	       (unsigned long long)figure->p10,
	       (unsigned long long)figure->p90, host.release);
}

void bench_report_calls(const struct bench_run *run,
			const struct bench_calls *calls)
{
	struct row *row = add_row(run);

	row->counted = true;
	row->calls = *calls;
	printf("calls.tsv\t%s%s\t%u\t%u\t%s\t%.3f\t%.3f\t%s\t%s\n",
	       run->method->name, polled_suffix(run->polled), run->size,
	       run->depth, topology, (double)calls->allocations / calls->ios,
	       (double)calls->dma / calls->ios,
	       calls->most[0] ? calls->most : "-", host.release);
}

void bench_report_missing(const struct bench_run *run, const char *why)
{
	failures++;
	printf("not measured: %s%s, %u bytes, %u in flight: %s\n",
	       run->method->name, polled_suffix(run->polled), run->size,
	       run->depth, why);
}

int bench_report_failures(void)
{
	return failures;
}

/* Was there at least one allocation and one DMA API call in any row? */
bool bench_report_counted(void)
{
	bool allocations = false, dma = false;
	const struct row *row;

	for (row = rows; row < rows + nr_rows; row++) {
		allocations |= row->calls.allocations;
		dma |= row->calls.dma;
	}
	return allocations && dma;
}

static const struct row *find_row(const struct bench_method *method,
				  uint32_t size, uint32_t depth, bool polled,
				  bool counted)
{
	const struct row *row;

	for (row = rows; row < rows + nr_rows; row++)
		if (row->method == method && row->depth == depth &&
		    row->polled == polled && row->counted == counted &&
		    (row->size == size || method == &bench_nop))
			return row;
	return NULL;
}

static const uint32_t columns[] = {
	4 * KIB, 64 * KIB, 128 * KIB, 512 * KIB, MIB,
};

static void print_head(const char *title)
{
	unsigned int i;

	printf("\n  %-38s", title);
	for (i = 0; i < ARRAY_SIZE(columns); i++)
		printf("%6u %s", columns[i] < MIB ? columns[i] / KIB :
						   columns[i] / MIB,
		       columns[i] < MIB ? "KiB" : "MiB");
	printf("\n");
}

static bool unsteady(const struct bench_figure *f)
{
	return f->p90 - f->p10 > f->median / UNSTEADY;
}

static void print_line(const struct bench_method *method, uint32_t depth,
		       bool polled)
{
	const struct row *row;
	unsigned int i;

	printf("  %-38s", method->name);
	for (i = 0; i < ARRAY_SIZE(columns); i++) {
		row = find_row(method, columns[i], depth, polled, false);
		if (row)
			printf("%9llu%s",
			       (unsigned long long)row->figure.median,
			       unsteady(&row->figure) ? "~" : " ");
		else
			printf("%9s ", "-");
	}
	printf("\n");
}

static void print_aim(uint32_t depth)
{
	unsigned int i;

	printf("  %-38s", "  aim");
	for (i = 0; i < ARRAY_SIZE(columns); i++)
		printf("%9u ", depth == 1 ? AIM_SHALLOW : AIM_DEEP);
	printf("\n");
}

static void print_block(uint32_t depth, bool polled)
{
	const struct row *nop = find_row(&bench_nop, 0, depth, polled, false);
	char title[64];
	unsigned int i;

	snprintf(title, sizeof(title), "%u in flight, %s (NOP: %llu)", depth,
		 polled ? "polled" : "interrupt",
		 nop ? (unsigned long long)nop->figure.median : 0ULL);
	print_head(title);
	for (i = 0; i < bench_nr_methods; i++) {
		print_line(&bench_methods[i], depth, polled);
		if (!i)
			print_aim(depth);
	}
}

static void print_calls(uint32_t depth)
{
	const struct row *row;
	unsigned int i, k;
	char title[64];

	snprintf(title, sizeof(title), "%u in flight, interrupt", depth);
	print_head(title);
	for (i = 0; i < bench_nr_methods; i++) {
		printf("  %-38s", bench_methods[i].name);
		for (k = 0; k < ARRAY_SIZE(columns); k++) {
			row = find_row(&bench_methods[i], columns[k], depth,
				       false, true);
			if (row)
				printf("%5.1f/%-4.1f",
				       (double)row->calls.allocations /
					       row->calls.ios,
				       (double)row->calls.dma / row->calls.ios);
			else
				printf("%9s ", "-");
		}
		printf("\n");
	}
}

/**
 * bench_report_print - the tables
 * @target: what was measured on
 */
void bench_report_print(const struct bench_target *target)
{
	printf("\nGuest instructions per I/O, reads, topology %s, kernel %s\n",
	       topology, host.release);
	printf("Instructions are not cycles: the time an instruction takes is not in here.\n");
	printf("The drive takes %u KiB a command. The 32 MiB of 4 KiB pages lie in %llu pieces.\n",
	       target->max_io / KIB, (unsigned long long)target->pages_runs);
	printf("Medians; ~ marks those whose middle 80 %% of bursts spread over more than 1/%u.\n",
	       UNSTEADY);
	print_block(32, false);
	print_block(1, false);
	print_block(32, true);
	print_block(1, true);
	printf("\nAllocations/DMA API calls per I/O, topology %s: submission and interrupt\n",
	       topology);
	print_calls(32);
	print_calls(1);
}
