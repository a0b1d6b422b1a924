// SPDX-License-Identifier: GPL-2.0
/*
 * The smallest driver that offers its device's memory.
 *
 * It binds to whatever function is given to it by driver_override and offers
 * BAR 2, but for the first MiB: there a real device may have its firmware.
 */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sizes.h>

#include "p2pbuf_region.h"

#define EXAMPLE_NAME	"p2pbuf_region_example"
#define EXAMPLE_BAR	2

static int example_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	const struct p2pbuf_region_desc desc = {
		.pdev = pdev,
		.bar = EXAMPLE_BAR,
		.reserved = SZ_1M,
		/* One program may have half of it. */
		.resident_limit = pci_resource_len(pdev, EXAMPLE_BAR) / 2,
	};
	struct p2pbuf_region *region;
	int ret;

	/* What any PCI driver does. */
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = pcim_request_region(pdev, EXAMPLE_BAR, EXAMPLE_NAME);
	if (ret)
		return ret;

	/* Last: from here on programs use the memory. */
	region = p2pbuf_region_register(&desc);
	if (IS_ERR(region))
		return PTR_ERR(region);

	pci_set_drvdata(pdev, region);
	return 0;
}

static void example_remove(struct pci_dev *pdev)
{
	/* First: after this nobody does. */
	p2pbuf_region_unregister(pci_get_drvdata(pdev));
}

static const struct pci_device_id example_ids[] = {
	{ }
};

static struct pci_driver example_driver = {
	.name = EXAMPLE_NAME,
	.id_table = example_ids,
	.probe = example_probe,
	.remove = example_remove,
};
module_pci_driver(example_driver);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Example: a driver that offers its BAR as a p2pbuf region");
