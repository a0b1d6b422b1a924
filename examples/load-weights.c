// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The weights of a model, from a safetensors file straight into VRAM.
 *
 *	load-weights [--exporter NODE] [--align BYTES] FILE
 *
 * The file may lie on ext4, XFS, md RAID-0, LVM: p2pbuf_read_file() picks the
 * way, and refuses one by host memory. Each tensor begins at a multiple of
 * --align in VRAM (plus what direct I/O asks for where the file itself is
 * oddly aligned). In the end the SHA-256 of each tensor in VRAM is compared
 * with that of the file, read once more through the page cache.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "demo.h"
#include "safetensors.h"

#define HEADER_MAX	(100 * 1024 * 1024u)
#define SLICE		(16 * 1024 * 1024ull)
#define BAR		30

static struct p2pbuf_error error = { .size = sizeof(error) };

__attribute__((format(printf, 1, 2), noreturn))
static void die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "load-weights: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(1);
}

static int64_t must(const char *what, int64_t ret)
{
	if (ret < 0)
		die("%s: %s", what, error.text[0] ? error.text :
					 p2pbuf_strerror(ret));
	return ret;
}

struct job {
	const char *file;
	const char *node;
	uint64_t align;
	uint64_t bytes;
	int direct;
	int cached;
	struct tensors tensors;
	struct p2pbuf_exporter *gpu;
	struct p2pbuf_buffer *vram;
	struct p2pbuf_bind_info info;
};

static void cached_read(const struct job *job, void *bytes, uint64_t len,
			uint64_t offset)
{
	uint64_t done;
	ssize_t n;

	for (done = 0; done < len; done += n) {
		n = pread(job->cached, (char *)bytes + done, len - done,
			  offset + done);
		if (n < 0)
			die("%s: %s", job->file, strerror(errno));
		if (!n)
			die("%s: it ends too early", job->file);
	}
}

static void header_read(struct job *job)
{
	unsigned char head[8];
	uint64_t len = 0;
	const char *why;
	struct stat st;
	char *json;
	int i;

	if (fstat(job->cached, &st) < 0)
		die("%s: %s", job->file, strerror(errno));
	if (st.st_size < 8)
		die("%s: not a safetensors file: it is too short", job->file);
	cached_read(job, head, sizeof(head), 0);
	for (i = 7; i >= 0; i--)
		len = len << 8 | head[i];
	if (len > HEADER_MAX || len > (uint64_t)st.st_size - 8)
		die("%s: not a safetensors file: its header is said to have %llu bytes",
		    job->file, (unsigned long long)len);

	json = malloc(len + 1);
	if (!json)
		die("out of memory");
	cached_read(job, json, len, 8);
	why = tensors_parse(json, len, st.st_size, &job->tensors);
	free(json);
	if (why)
		die("%s: not a safetensors file: %s", job->file, why);
}

/* What the file demands decides about places, and so it is asked first. */
static void way_find(struct job *job)
{
	struct p2pbuf_binding *binding;
	struct p2pbuf_buffer *page;

	must("exporter", p2pbuf_exporter_open(job->node, &job->gpu, &error));
	must("alloc", p2pbuf_alloc(job->gpu, 4096, NULL, &page, &error));
	must("bind", p2pbuf_bind(NULL, page, job->direct, NULL, &binding, &error));
	job->info.size = sizeof(job->info);
	must("info", p2pbuf_bind_info(binding, &job->info));
	p2pbuf_unbind(binding);
	p2pbuf_free(page);
	printf("path %s: %s\n", p2pbuf_path_name(job->info.path.path),
	       job->info.why);
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

static void places_find(struct job *job)
{
	const uint64_t odd = job->info.buf_align;
	struct tensor *t;
	uint64_t pos = 0;
	size_t i;

	for (i = 0; i < job->tensors.n; i++) {
		t = &job->tensors.list[i];
		t->place = round_up(pos, round_up(job->align, odd)) +
			   t->begin % odd;
		pos = t->place + (t->end - t->begin);
		job->bytes += t->end - t->begin;
	}
	must("alloc", p2pbuf_alloc(job->gpu, round_up(pos + 1, 4096), NULL,
				   &job->vram, &error));
}

static void progress(const struct job *job, uint64_t done, uint64_t start_ns,
		     bool last)
{
	int full = job->bytes ? done * BAR / job->bytes : BAR;

	if (!last && !isatty(STDOUT_FILENO))
		return;
	printf("%s[%.*s%*s] %3.0f %%  %.1f of %.1f MiB  %.1f MiB/s  path %s%s",
	       isatty(STDOUT_FILENO) ? "\r" : "", full,
	       "##############################", BAR - full, "",
	       job->bytes ? done * 100.0 / job->bytes : 100, done / MIB,
	       job->bytes / MIB, mib_s(done, now_ns() - start_ns),
	       p2pbuf_path_name(job->info.path.path), last ? "\n" : "");
	fflush(stdout);
}

static void tensors_load(struct job *job)
{
	const uint64_t start = now_ns();
	uint64_t done = 0, pos, len;
	struct tensor *t;
	size_t i;

	for (i = 0; i < job->tensors.n; i++) {
		t = &job->tensors.list[i];
		for (pos = t->begin; pos < t->end; pos += len) {
			/* Slices end at a block, so only a tensor's ends are copied. */
			len = SLICE - pos % SLICE;
			if (len > t->end - pos)
				len = t->end - pos;
			if ((uint64_t)must(t->name,
					   p2pbuf_read_file(job->vram,
							    t->place + pos - t->begin,
							    len, job->direct, pos,
							    0, &error)) != len)
				die("%s: it ends too early", job->file);
			done += len;
			progress(job, done, start, false);
		}
	}
	progress(job, done, start, true);
}

/* 0 if VRAM holds what the file does. */
static int tensors_verify(struct job *job)
{
	char in_vram[SHA256_HEX], in_file[SHA256_HEX];
	struct tensor *t;
	void *vram, *copy;
	uint64_t len;
	int bad = 0;
	size_t i;

	must("map", p2pbuf_map(job->vram, 0, 0, P2PBUF_READ, &vram));
	must("sync", p2pbuf_sync_begin(job->vram, P2PBUF_READ));
	for (i = 0; i < job->tensors.n; i++) {
		t = &job->tensors.list[i];
		len = t->end - t->begin;
		copy = malloc(len + 1);
		if (!copy)
			die("out of memory");
		cached_read(job, copy, len, t->begin);
		sha256_hex((char *)vram + t->place, len, in_vram);
		sha256_hex(copy, len, in_file);
		free(copy);
		printf("%s  %s %s %llu at %#llx%s\n", in_vram, t->name, t->dtype,
		       (unsigned long long)len, (unsigned long long)t->place,
		       strcmp(in_vram, in_file) ? "  DIFFERS" : "");
		bad += !!strcmp(in_vram, in_file);
	}
	p2pbuf_sync_end(job->vram, P2PBUF_READ);

	return bad;
}

static void usage(void)
{
	fprintf(stderr,
		"usage: load-weights [--exporter NODE] [--align BYTES] FILE\n");
	exit(2);
}

static void options(struct job *job, int argc, char **argv)
{
	static const struct option known[] = {
		{ "exporter", required_argument, NULL, 'e' },
		{ "align", required_argument, NULL, 'a' },
		{ }
	};
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
		if (c == 'e') {
			job->node = optarg;
		} else if (c == 'a') {
			job->align = strtoull(optarg, &end, 0);
			if (*end || !job->align || job->align > SLICE)
				usage();
		} else {
			usage();
		}
	}
	if (optind + 1 != argc)
		usage();
	job->file = argv[optind];
}

int main(int argc, char **argv)
{
	struct job job = { .align = 256 };
	int bad;

	options(&job, argc, argv);
	job.cached = open(job.file, O_RDONLY | O_CLOEXEC);
	job.direct = open(job.file, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (job.cached < 0 || job.direct < 0)
		die("%s: %s", job.file, strerror(errno));

	header_read(&job);
	way_find(&job);
	places_find(&job);
	tensors_load(&job);
	bad = tensors_verify(&job);
	printf("%zu tensors, %.1f MiB: %s\n", job.tensors.n, job.bytes / MIB,
	       bad ? "NOT as in the file" : "all as in the file");

	p2pbuf_free(job.vram);
	p2pbuf_exporter_close(job.gpu);
	tensors_free(&job.tensors);
	return bad ? 1 : 0;
}
