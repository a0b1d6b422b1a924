/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's harness, with time limits that follow the machine: a kernel
 * full of checkers takes several times as long, and tells by how much in
 * P2PBUF_SLOW.
 *
 * Found before the real one, which it includes. The first #include_next may
 * find this file again, for the folder of the including file is searched
 * before the list that has this folder; so it stands outside of the guard.
 */
#include_next <kselftest_harness.h>

#ifndef P2PBUF_KSELFTEST_HARNESS_H
#define P2PBUF_KSELFTEST_HARNESS_H

static inline int ptk_slow(void)
{
	const char *slow = getenv("P2PBUF_SLOW");

	return slow && atoi(slow) > 1 ? atoi(slow) : 1;
}

/* What chance is made of, so that a run can be had again; never 0. */
static inline unsigned long long ptk_seed(void)
{
	const char *text = getenv("P2PBUF_SEED");
	unsigned long long seed = text ? strtoull(text, NULL, 0) : 0;

	return seed ? seed : 1;
}

static inline void ptk_scale_limits(void)
{
	struct __fixture_metadata *f;
	struct __test_metadata *t;

	for (f = __fixture_list; f; f = f->next)
		for (t = f->tests; t; t = t->next)
			t->timeout *= ptk_slow();
}

/* Lines of a file, a report of debugfs for one; or -errno. */
static inline int ptk_lines(const char *path)
{
	FILE *f = fopen(path, "re");
	int c, n = 0;

	if (!f)
		return -errno;
	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

#undef TEST_HARNESS_MAIN
#define TEST_HARNESS_MAIN				\
	int main(int argc, char **argv)			\
	{						\
		ptk_scale_limits();			\
		exit(test_harness_run(argc, argv));	\
	}

#endif /* P2PBUF_KSELFTEST_HARNESS_H */
