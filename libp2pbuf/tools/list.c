// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * p2pbuf list, info, why: what is here, and who can reach whom. "Can" is not
 * guessed from the topology: a small VRAM-only buffer is really bound.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <p2pbuf.h>

#include "tool.h"
#include "why.h"

#define PROBE_BYTES	4096
#define MIB		(1024 * 1024.0)

/* The last part of where a link leads to, "" when it leads nowhere. */
static void link_end(const char *block, const char *name, char *text, size_t size)
{
	char link[PATH_MAX], *path;

	snprintf(link, sizeof(link), "/sys/block/%s/%s", block, name);
	path = realpath(link, NULL);
	snprintf(text, size, "%s", path ? strrchr(path, '/') + 1 : "");
	free(path);
}

/* The PCI address of the drive behind a block device, or why it has none. */
static void drive_of(const char *block, char *text, size_t size)
{
	/* A head has several, and is of their subsystem instead. */
	link_end(block, "device", text, size);
	if (!strncmp(text, "nvme-subsys", 11)) {
		snprintf(text, size, "multipath");
		return;
	}
	link_end(block, "device/device", text, size);
	if (!strchr(text, ':'))
		snprintf(text, size, "not on PCI");
}

static unsigned long long read_number(const char *block, const char *attribute)
{
	unsigned long long value = 0;
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/%s", block, attribute);
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%llu", &value) != 1)
			value = 0;
		fclose(f);
	}
	return value;
}

static int is_namespace(const struct dirent *entry)
{
	return !strncmp(entry->d_name, "nvme", 4) &&
	       !read_number(entry->d_name, "hidden");
}

static int is_render_node(const struct dirent *entry)
{
	return !strncmp(entry->d_name, "renderD", 7);
}

static void print_exporter(const struct p2pbuf_exporter_info *info)
{
	printf("  %s  %s  BAR %u  %.0f MiB, %.0f used%s\n", info->device,
	       info->node, info->bar, info->vram_size / MIB,
	       info->vram_used / MIB,
	       info->flags & P2PBUF_EXPORTER_PAGED ? ", paged" : "");
}

static void print_namespace(const char *block)
{
	char drive[32];

	drive_of(block, drive, sizeof(drive));
	printf("  %s  /dev/%s  %.0f MiB\n", drive, block,
	       read_number(block, "size") * 512 / MIB);
}

static void print_pair(struct p2pbuf_exporter *exporter, const char *device,
		       const char *block)
{
	struct p2pbuf_alloc_opts opts = {
		.size = sizeof(opts),
		.flags = P2PBUF_VRAM_ONLY,
	};
	struct p2pbuf_bind_info info = { .size = sizeof(info) };
	struct p2pbuf_error error = { .size = sizeof(error) };
	struct p2pbuf_binding *binding = NULL;
	struct p2pbuf_buffer *buf = NULL;
	char node[NAME_MAX + 8];
	int fd = -1, ret;

	printf("  %s  /dev/%s  ", device, block);
	ret = p2pbuf_alloc(exporter, PROBE_BYTES, &opts, &buf, &error);
	if (ret < 0)
		goto out;
	snprintf(node, sizeof(node), "/dev/%s", block);
	fd = open(node, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0) {
		ret = -errno;
		snprintf(error.text, sizeof(error.text), "cannot open it: %s",
			 strerrordesc_np(errno));
		goto out;
	}
	ret = p2pbuf_bind(NULL, buf, fd, NULL, &binding, &error);
	if (ret < 0)
		goto out;
	ret = p2pbuf_bind_info(binding, &info);
	if (ret < 0)
		snprintf(error.text, sizeof(error.text), "%s",
			 p2pbuf_strerror(ret));
out:
	if (ret < 0)
		printf("refused (%s): %s\n", strerrorname_np(-ret), error.text);
	else
		printf("%s: %s\n", p2pbuf_path_name(info.path.path), info.why);
	p2pbuf_unbind(binding);
	p2pbuf_free(buf);
	if (fd >= 0)
		close(fd);
}

/*
 * With @pairs: every exporter against every namespace; else the exporters
 * alone. The number of exporters.
 */
static int each_exporter(struct dirent **blocks, int nblocks, bool pairs)
{
	struct p2pbuf_exporter_info info = { .size = sizeof(info) };
	struct p2pbuf_exporter *exporter;
	struct dirent **nodes;
	char path[NAME_MAX + 16];
	int n, i, j, found = 0;

	n = scandir("/dev/dri", &nodes, is_render_node, versionsort);
	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "/dev/dri/%s", nodes[i]->d_name);
		free(nodes[i]);
		if (p2pbuf_exporter_open(path, &exporter, NULL) < 0)
			continue;
		if (!p2pbuf_exporter_info(exporter, &info)) {
			found++;
			if (!pairs)
				print_exporter(&info);
			for (j = 0; pairs && j < nblocks; j++)
				print_pair(exporter, info.device,
					   blocks[j]->d_name);
		}
		p2pbuf_exporter_close(exporter);
	}
	if (n >= 0)
		free(nodes);

	return found;
}

int cmd_list(int argc, char **argv)
{
	struct dirent **blocks = NULL;
	int nblocks, i, exporters;

	if (argc != 1) {
		fprintf(stderr, "usage: p2pbuf %s\n", argv[0]);
		return 2;
	}

	printf("exporters:\n");
	exporters = each_exporter(NULL, 0, false);
	if (!exporters)
		printf("  none that this process can open\n");

	nblocks = scandir("/sys/block", &blocks, is_namespace, versionsort);
	printf("NVMe namespaces:\n");
	for (i = 0; i < nblocks; i++)
		print_namespace(blocks[i]->d_name);
	if (nblocks <= 0)
		printf("  none\n");

	if (exporters && nblocks > 0) {
		printf("paths:\n");
		each_exporter(blocks, nblocks, true);
	}
	for (i = 0; i < nblocks; i++)
		free(blocks[i]);
	free(blocks);

	return 0;
}

int cmd_info(int argc, char **argv)
{
	struct p2pbuf_exporter_info info = { .size = sizeof(info) };
	struct p2pbuf_error error = { .size = sizeof(error) };
	struct p2pbuf_exporter *exporter;
	int ret;

	if (argc > 2) {
		fprintf(stderr, "usage: p2pbuf %s [EXPORTER]\n", argv[0]);
		return 2;
	}
	ret = p2pbuf_exporter_open(argc > 1 ? argv[1] : NULL, &exporter, &error);
	if (ret < 0) {
		fprintf(stderr, "p2pbuf: %s\n", error.text);
		return 1;
	}
	ret = p2pbuf_exporter_info(exporter, &info);
	p2pbuf_exporter_close(exporter);
	if (ret < 0) {
		fprintf(stderr, "p2pbuf: %s\n", p2pbuf_strerror(ret));
		return 1;
	}

	printf("device          %s\n", info.device);
	printf("node            %s\n", info.node);
	printf("bar             %u\n", info.bar);
	printf("paged           %s\n",
	       info.flags & P2PBUF_EXPORTER_PAGED ? "yes" : "no");
	printf("page_size       %u\n", info.page_size);
	printf("vram_size       %llu\n", (unsigned long long)info.vram_size);
	printf("vram_used       %llu\n", (unsigned long long)info.vram_used);
	printf("resident_limit  %llu\n",
	       (unsigned long long)info.resident_limit);
	printf("pin_limit       %llu\n", (unsigned long long)info.pin_limit);
	printf("pin_used        %llu\n", (unsigned long long)info.pin_used);

	return 0;
}

int cmd_why(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: p2pbuf %s EXPORTER IMPORTER\n", argv[0]);
		return 2;
	}
	return p2pbuf_why(argv[1], argv[2], stdout) ? 1 : 0;
}
