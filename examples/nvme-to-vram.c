// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The first megabyte of an NVMe drive, straight into a GPU's memory:
 *	nvme-to-vram /dev/nvme0n1
 * Read this first: it is all that one needs to know.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <liburing.h>
#include <p2pbuf.h>

#define LEN	(1 << 20)

static struct p2pbuf_error error = { .size = sizeof(error) };

static int must(const char *what, int ret)
{
	if (ret >= 0)
		return ret;
	fprintf(stderr, "%s: %s\n", what,
		error.text[0] ? error.text : p2pbuf_strerror(ret));
	exit(1);
}

int main(int argc, char **argv)
{
	struct p2pbuf_bind_info info = { .size = sizeof(info) };
	struct p2pbuf_exporter *gpu;
	struct p2pbuf_buffer *vram;
	struct p2pbuf_binding *binding;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	int disk = open(argc == 2 ? argv[1] : "", O_RDONLY | O_CLOEXEC);

	/* A disk, and 1 MiB of device memory. */
	if (disk < 0) {
		fprintf(stderr, "usage: nvme-to-vram NAMESPACE: %s\n",
			strerror(errno));
		return 1;
	}
	must("exporter", p2pbuf_exporter_open(NULL, &gpu, &error));
	must("alloc", p2pbuf_alloc(gpu, LEN, NULL, &vram, &error));

	/* Tie one to the other. Fails unless it is peer to peer. */
	must("ring", io_uring_queue_init(8, &ring, 0));
	must("bind", p2pbuf_bind(&ring, vram, disk, NULL, &binding, &error));
	must("info", p2pbuf_bind_info(binding, &info));
	printf("path %s: %s\n", p2pbuf_path_name(info.path.path), info.why);

	/* I/O as with any other file, but buffers are offsets. */
	sqe = io_uring_get_sqe(&ring);
	must("prep", p2pbuf_prep_read(sqe, binding, 0, LEN, 0, P2PBUF_FLUSH));
	must("submit", io_uring_submit_and_wait(&ring, 1));
	must("wait", io_uring_wait_cqe(&ring, &cqe));
	if (cqe->res < 0)
		p2pbuf_explain(binding, cqe->res, &error);
	printf("%d bytes read\n", must("read", cqe->res));

	/* The kernel takes everything back when the process ends. */
	return 0;
}
