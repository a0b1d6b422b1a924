// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * p2pbuf copy: a range of one NVMe namespace through device memory to another
 * range, or just into device memory. Moves a chunk at a time, so the range may
 * be larger than the memory. With -v each chunk is compared with what O_DIRECT
 * reads from both disks.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <liburing.h>

#include <p2pbuf.h>

#include "tool.h"

#define MIB		(1024 * 1024.0)
#define CHUNK		(64ull << 20)
#define COMPARE		(1ull << 20)
#define POISON		0x5a

const char copy_usage[] =
	"copy [-v] [-e EXPORTER] [-q DEPTH] [-b BYTES] FROM[:OFFSET] [TO[:OFFSET]] LENGTH";

/* One side: a namespace, where in it, and how fast it went. */
struct side {
	const char *node;
	uint64_t offset;
	int fd;
	struct stat stat;
	struct p2pbuf_binding *binding;
	uint64_t ns;
};

struct copy {
	const char *exporter_name;
	unsigned int depth;
	uint64_t block;
	bool verify;
	uint64_t length;
	uint64_t chunk;
	struct side from;
	struct side to;
	struct p2pbuf_exporter *exporter;
	struct p2pbuf_buffer *buf;
	struct io_uring ring;
	unsigned char *vram;
	unsigned char *scratch;
	struct p2pbuf_error error;
};

static int complain(const char *what, int ret, const struct p2pbuf_error *error)
{
	fprintf(stderr, "p2pbuf: %s: %s\n", what,
		error && error->code == -ret ? error->text :
					       p2pbuf_strerror(ret));
	return ret;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* "4096", "64M"; false for anything else. */
static bool parse_size(const char *text, uint64_t *value)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	if (end == text || errno || *text == '-')
		return false;
	if (!*end)
		return true;
	unit = strchr(units, *end);
	if (!unit || end[1] || *value >> (63 - 10 * (unit - units + 1)))
		return false;
	*value <<= 10 * (unit - units + 1);

	return true;
}

/*
 * "/dev/nvme0n1" or "/dev/nvme0n1:64M". Names may have colons, as those in
 * /dev/disk/by-path: what follows the last is an offset if it is a size.
 */
static void parse_side(char *text, struct side *side)
{
	char *colon = strrchr(text, ':');

	side->node = text;
	if (colon && parse_size(colon + 1, &side->offset))
		*colon = '\0';
	else
		side->offset = 0;
}

static int open_side(struct copy *copy, struct side *side, int flags)
{
	int ret;

	side->fd = open(side->node, flags | O_DIRECT | O_CLOEXEC);
	if (side->fd < 0 || fstat(side->fd, &side->stat)) {
		ret = -errno;
		fprintf(stderr, "p2pbuf: cannot open %s: %s\n", side->node,
			strerror(-ret));
		return ret;
	}
	ret = p2pbuf_bind(&copy->ring, copy->buf, side->fd, NULL,
			  &side->binding, &copy->error);
	return ret < 0 ? complain(side->node, ret, &copy->error) : 0;
}

/*
 * Are both sides one file or device, and share bytes? Each chunk is written
 * before the next is read, which then may be what was just written.
 */
static bool is_overlap(const struct copy *copy)
{
	const uint64_t from = copy->from.offset, to = copy->to.offset;
	const struct stat *a = &copy->from.stat, *b = &copy->to.stat;

	if (S_ISBLK(a->st_mode) != S_ISBLK(b->st_mode))
		return false;
	/* A disk may have several nodes, and they several names. */
	if (S_ISBLK(a->st_mode) ? a->st_rdev != b->st_rdev :
				  a->st_dev != b->st_dev || a->st_ino != b->st_ino)
		return false;
	return (from > to ? from - to : to - from) < copy->length;
}

static int open_all(struct copy *copy)
{
	int ret;

	ret = p2pbuf_exporter_open(copy->exporter_name, &copy->exporter,
				   &copy->error);
	if (ret < 0)
		return complain("exporter", ret, &copy->error);
	copy->chunk = copy->length < CHUNK ? copy->length : CHUNK;
	ret = p2pbuf_alloc(copy->exporter, (copy->chunk + 4095) & ~4095ull,
			   NULL, &copy->buf, &copy->error);
	if (ret < 0)
		return complain("memory", ret, &copy->error);
	ret = io_uring_queue_init(copy->depth, &copy->ring, 0);
	if (ret < 0)
		return complain("io_uring", ret, NULL);
	if (copy->verify) {
		copy->scratch = aligned_alloc(4096, (copy->chunk + 4095) & ~4095ull);
		ret = copy->scratch ? p2pbuf_map(copy->buf, 0, 0,
						 P2PBUF_READ | P2PBUF_WRITE,
						 (void **)&copy->vram) : -ENOMEM;
		if (ret < 0)
			return complain("mapping", ret, NULL);
	}
	ret = open_side(copy, &copy->from, O_RDONLY);
	if (ret < 0 || !copy->to.node)
		return ret;
	/* O_EXCL: not a disk that is mounted or otherwise in use. */
	ret = open_side(copy, &copy->to, O_RDWR | O_EXCL);
	if (ret < 0 || !is_overlap(copy))
		return ret;
	fprintf(stderr, "p2pbuf: the two ranges of %s overlap\n",
		copy->to.node);
	return -EINVAL;
}

static void close_side(struct side *side)
{
	p2pbuf_unbind(side->binding);
	if (side->fd >= 0)
		close(side->fd);
}

static void close_all(struct copy *copy)
{
	close_side(&copy->from);
	close_side(&copy->to);
	if (copy->vram)
		p2pbuf_unmap(copy->vram, (copy->chunk + 4095) & ~4095ull);
	free(copy->scratch);
	p2pbuf_free(copy->buf);
	p2pbuf_exporter_close(copy->exporter);
	if (copy->ring.ring_fd > 0)
		io_uring_queue_exit(&copy->ring);
}

/* Waits for one completion; its failure is told and returned. */
static int complete_one(struct copy *copy, struct side *side)
{
	struct io_uring_cqe *cqe;
	uint64_t expected;
	int ret, res;

	do {
		ret = io_uring_wait_cqe(&copy->ring, &cqe);
	} while (ret == -EINTR);
	if (ret < 0)
		return complain("io_uring", ret, NULL);
	res = cqe->res;
	expected = cqe->user_data;
	io_uring_cqe_seen(&copy->ring, cqe);
	if (res < 0) {
		p2pbuf_explain(side->binding, res, &copy->error);
		return complain("I/O", res, &copy->error);
	}
	if ((uint64_t)res == expected)
		return 0;
	/* Behind what came lies what the buffer held before. */
	fprintf(stderr, "p2pbuf: %s ends too early\n", side->node);
	return -ENODATA;
}

/* @direction: one request of @len bytes, which is in flight when 0 is returned */
static int start_one(struct copy *copy, struct side *side, uint32_t direction,
		     uint64_t buf_off, uint64_t len, uint64_t where)
{
	struct io_uring_sqe *sqe;
	int ret;

	ret = p2pbuf_check(side->binding, direction, buf_off, len, where, 0,
			   &copy->error);
	if (ret < 0)
		return complain("request", ret, &copy->error);
	sqe = io_uring_get_sqe(&copy->ring);
	if (direction == P2PBUF_READ)
		p2pbuf_prep_read(sqe, side->binding, buf_off, len, where, 0);
	else
		p2pbuf_prep_write(sqe, side->binding, buf_off, len, where, 0);
	sqe->user_data = len;
	ret = io_uring_submit(&copy->ring);
	if (ret == 1)
		return 0;
	return complain("io_uring", ret < 0 ? ret : -EAGAIN, NULL);
}

/* @length bytes between the buffer's beginning and @at of the side's range. */
static int transfer(struct copy *copy, struct side *side, uint32_t direction,
		    uint64_t at, uint64_t length)
{
	uint64_t done, len, start = now_ns();
	unsigned int in_flight = 0;
	int ret = 0, err;

	for (done = 0; done < length && !ret; done += len) {
		len = length - done < copy->block ? length - done : copy->block;
		if (in_flight == copy->depth) {
			ret = complete_one(copy, side);
			in_flight--;
		}
		if (!ret)
			ret = start_one(copy, side, direction, done, len,
					side->offset + at + done);
		if (!ret)
			in_flight++;
	}
	while (in_flight--) {
		err = complete_one(copy, side);
		ret = ret ? ret : err;
	}
	side->ns += now_ns() - start;

	return ret;
}

/* Is what is in the buffer also on the disk? */
static int verify(struct copy *copy, struct side *side, uint64_t at,
		  uint64_t length)
{
	uint64_t i = 0, part, done;
	ssize_t n;

	for (done = 0; done < length; done += n) {
		n = pread(side->fd, copy->scratch + done, length - done,
			  side->offset + at + done);
		if (n <= 0)
			return complain(side->node, n ? -errno : -ENODATA, NULL);
	}
	p2pbuf_sync_begin(copy->buf, P2PBUF_READ);
	/* Pieces first: VRAM is slow to read byte by byte. */
	for (; i < length; i += part) {
		part = length - i < COMPARE ? length - i : COMPARE;
		if (memcmp(copy->vram + i, copy->scratch + i, part))
			break;
	}
	while (i < length && copy->vram[i] == copy->scratch[i])
		i++;
	p2pbuf_sync_end(copy->buf, P2PBUF_READ);
	if (i == length)
		return 0;
	fprintf(stderr, "p2pbuf: %s differs from the buffer at byte %" PRIu64 "\n",
		side->node, side->offset + at + i);

	return -EIO;
}

static int copy_chunk(struct copy *copy, uint64_t at, uint64_t length)
{
	int ret;

	if (copy->verify) {
		p2pbuf_sync_begin(copy->buf, P2PBUF_WRITE);
		memset(copy->vram, POISON, length);
		p2pbuf_sync_end(copy->buf, P2PBUF_WRITE);
	}
	ret = transfer(copy, &copy->from, P2PBUF_READ, at, length);
	if (!ret && copy->verify)
		ret = verify(copy, &copy->from, at, length);
	if (!ret && copy->to.node)
		ret = transfer(copy, &copy->to, P2PBUF_WRITE, at, length);
	if (!ret && copy->to.node && copy->verify)
		ret = verify(copy, &copy->to, at, length);

	return ret;
}

static void report(const char *word, const struct side *side, uint64_t length)
{
	struct p2pbuf_bind_info info = { .size = sizeof(info) };

	if (!side->node || p2pbuf_bind_info(side->binding, &info) < 0)
		return;
	printf("%-5s %s: %.0f MiB, %.0f MiB/s, %.0f MiB through host memory\n",
	       word, side->node, length / MIB,
	       length / MIB / (side->ns / 1e9), info.bytes_system / MIB);
	printf("      path %s: %s\n", p2pbuf_path_name(info.path.path), info.why);
}

static int run(struct copy *copy)
{
	uint64_t at, length;
	int ret;

	ret = open_all(copy);
	for (at = 0; !ret && at < copy->length; at += length) {
		length = copy->length - at;
		if (length > copy->chunk)
			length = copy->chunk;
		ret = copy_chunk(copy, at, length);
	}
	if (!ret) {
		report("read", &copy->from, copy->length);
		report("write", &copy->to, copy->length);
		if (copy->verify)
			printf("every byte compared\n");
	}
	close_all(copy);

	return ret ? 1 : 0;
}

int cmd_copy(int argc, char **argv)
{
	struct copy copy = {
		.depth = 32,
		.block = 1 << 20,
		.from.fd = -1,
		.to.fd = -1,
		.error.size = sizeof(copy.error),
	};
	uint64_t depth;
	bool ok = true;
	int c;

	while ((c = getopt(argc, argv, "e:q:b:v")) != -1) {
		if (c == 'e') {
			copy.exporter_name = optarg;
		} else if (c == 'q') {
			ok &= parse_size(optarg, &depth) && depth && depth <= 4096;
			copy.depth = ok ? depth : 0;
		} else if (c == 'b') {
			ok &= parse_size(optarg, &copy.block) && copy.block;
		} else if (c == 'v') {
			copy.verify = true;
		} else {
			ok = false;
		}
	}
	argc -= optind;
	argv += optind;
	if (!ok || argc < 2 || argc > 3 ||
	    !parse_size(argv[argc - 1], &copy.length) || !copy.length) {
		fprintf(stderr, "usage: p2pbuf %s\n", copy_usage);
		return 2;
	}
	parse_side(argv[0], &copy.from);
	if (argc == 3)
		parse_side(argv[1], &copy.to);
	return run(&copy);
}
