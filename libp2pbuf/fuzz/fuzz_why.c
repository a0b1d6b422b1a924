// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * `p2pbuf why` on a machine whose sysfs says what it likes: names, where the
 * functions hang, config space, ids, /proc/cpuinfo.
 *
 * The tree is made once, in a folder of its own; each input replaces what is
 * in its files.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "../tools/why_pci.c"
#include "../tools/why.c"

#define UP	"/sys/devices/pci0000:00/0000:00:01.0"
#define A	UP "/0000:01:00.0/0000:02:00.0"
#define B	UP "/0000:01:00.0/0000:02:01.0"

static char root[32] = "/tmp/fuzz-why.XXXXXX";
static const char * const functions[] = { UP, UP "/0000:01:00.0", A, B };
static const char * const names[] = {
	"0000:00:01.0", "0000:01:00.0", "0000:02:00.0", "0000:02:01.0",
};

static void write_file(const char *folder, const char *name, const void *bytes,
		       size_t n)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s%s/%s", root, folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	PROMISE(fd >= 0);
	PROMISE(write(fd, bytes, n) == (ssize_t)n);
	close(fd);
}

static void make_folders(const char *path)
{
	char all[PATH_MAX], *p;

	snprintf(all, sizeof(all), "%s%s", root, path);
	for (p = all + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(all, 0700);
		*p = '/';
	}
	mkdir(all, 0700);
}

static void remove_tree(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", root);
	if (system(command))
		fprintf(stderr, "%s stays\n", root);
}

static void prepare(void)
{
	char link[PATH_MAX], target[PATH_MAX];
	unsigned int i;

	if (*pci_root)
		return;
	PROMISE(mkdtemp(root));
	atexit(remove_tree);
	make_folders("/sys/bus/pci/devices");
	make_folders("/proc");
	for (i = 0; i < 4; i++) {
		make_folders(functions[i]);
		snprintf(target, sizeof(target), "%s%s", root, functions[i]);
		snprintf(link, sizeof(link), "%s/sys/bus/pci/devices/%s", root,
			 names[i]);
		PROMISE(!symlink(target, link));
	}
	make_folders(A "/iommu_group");
	pci_root = root;
}

/* What realpath() may give, of which no machine here has all. */
static void fuzz_chain(struct input *in)
{
	struct pci_chain chain;
	char path[PATH_MAX] = "";
	size_t n = input_byte(in);
	int i;

	input_bytes(in, path, n);
	path[n] = '\0';
	if (split_chain(path, &chain))
		return;
	PROMISE(chain.n > 0 && chain.n <= PCI_DEPTH);
	for (i = 0; i < chain.n; i++)
		PROMISE(memchr(chain.bdf[i], '\0', sizeof(chain.bdf[i])));
}

static void fuzz_name(struct input *in)
{
	char text[33], bdf[PCI_NAME_LEN], again[PCI_NAME_LEN];

	input_bytes(in, text, 32);
	text[32] = '\0';
	if (pci_name(text, bdf))
		return;
	PROMISE(!pci_name(bdf, again));
	PROMISE(!strcmp(bdf, again));
}

static void fuzz_tree(struct input *in)
{
	static const char * const attributes[] = {
		"vendor", "device", "class",
	};
	uint8_t config[4096], text[64];
	char *out = NULL;
	unsigned int i, k;
	size_t size;
	FILE *f;

	for (i = 0; i < 4; i++) {
		/* short, where a reader without rights is cut off */
		static const size_t sizes[] = { 64, 256, 4096, 1024 };
		uint8_t what = input_byte(in);
		size_t n;

		memset(config, 0, sizeof(config));
		input_bytes(in, config, 64);
		config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
		input_bytes(in, config + 64, 64);
		input_bytes(in, config + 256, what);
		n = sizes[what & 3];
		write_file(functions[i], "config", config, n);
		for (k = 0; k < 3; k++) {
			n = input_byte(in) % sizeof(text);
			input_bytes(in, text, n);
			write_file(functions[i], attributes[k], text, n);
		}
	}
	size = input_byte(in) % sizeof(text);
	input_bytes(in, text, size);
	write_file(A "/iommu_group", "type", text, size);
	write_file("/proc", "cpuinfo", in->data ? in->data : text,
		   in->data ? in->size : 0);

	f = open_memstream(&out, &size);
	PROMISE(f);
	PROMISE(!p2pbuf_why(names[2], names[3], f));
	fclose(f);
	PROMISE(strstr(out, "\nverdict: "));
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	prepare();
	switch (input_byte(&in) % 4) {
	case 0:
		fuzz_name(&in);
		break;
	case 1:
		fuzz_chain(&in);
		break;
	default:
		fuzz_tree(&in);
	}
	return 0;
}
