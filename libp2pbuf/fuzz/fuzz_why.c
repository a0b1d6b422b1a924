// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * `p2pbuf why` on a machine whose sysfs says what it likes: names, where the
 * functions hang, config space, ids, /proc/cpuinfo.
 */
#include "fuzz.h"
#include "tree.h"
#include "../tools/why_pci.c"
#include "../tools/why.c"

#define UP	"/sys/devices/pci0000:00/0000:00:01.0"
#define A	UP "/0000:01:00.0/0000:02:00.0"
#define B	UP "/0000:01:00.0/0000:02:01.0"

static const char * const functions[] = { UP, UP "/0000:01:00.0", A, B };
static const char * const names[] = {
	"0000:00:01.0", "0000:01:00.0", "0000:02:00.0", "0000:02:01.0",
};

static void prepare(void)
{
	char link[64];
	unsigned int i;

	if (!tree_make())
		return;
	tree_folder("/sys/bus/pci/devices");
	tree_folder("/proc");
	for (i = 0; i < 4; i++) {
		tree_folder(functions[i]);
		snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s",
			 names[i]);
		tree_link(link, functions[i]);
	}
	tree_folder(A "/iommu_group");
	pci_root = tree_root;
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
		tree_write(functions[i], "config", config, n);
		for (k = 0; k < 3; k++) {
			n = input_byte(in) % sizeof(text);
			input_bytes(in, text, n);
			tree_write(functions[i], attributes[k], text, n);
		}
	}
	size = input_byte(in) % sizeof(text);
	input_bytes(in, text, size);
	tree_write(A "/iommu_group", "type", text, size);
	tree_write("/proc", "cpuinfo", in->data ? in->data : text,
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
