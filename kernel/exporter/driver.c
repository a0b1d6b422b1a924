// SPDX-License-Identifier: GPL-2.0
/*
 * The generic driver: any PCI function with memory behind a BAR, bound by
 * hand. It matches nothing by itself:
 *
 *	echo p2pbuf_exporter > /sys/bus/pci/devices/0000:03:00.0/driver_override
 *	echo 0000:03:00.0 > /sys/bus/pci/drivers/p2pbuf_exporter/bind
 *
 * or, for every function of a kind, through the driver's new_id.
 */
#include <linux/module.h>
#include <linux/pci.h>

#include "exporter.h"

static int bar = -1;
module_param(bar, int, 0644);
MODULE_PARM_DESC(bar,
		 "BAR to offer, -1 for the largest prefetchable memory BAR (default)");

static unsigned long reserved;
module_param(reserved, ulong, 0644);
MODULE_PARM_DESC(reserved,
		 "bytes at the start of the BAR that only windows reach (default 0)");

static bool paged;
module_param(paged, bool, 0644);
MODULE_PARM_DESC(paged,
		 "give functions bound from now on struct pages, for file I/O (default no)");

static bool unrevocable;
module_param(unrevocable, bool, 0644);
MODULE_PARM_DESC(unrevocable,
		 "let importers that cannot be revoked pin VRAM of functions bound from now on; an unplug waits for them (default no)");

static int p2pbuf_driver_pick_bar(struct pci_dev *pdev)
{
	const unsigned long want = IORESOURCE_MEM | IORESOURCE_PREFETCH;
	int i, best = -1;

	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		if ((pci_resource_flags(pdev, i) & want) != want)
			continue;
		if (best < 0 || pci_resource_len(pdev, i) >
				pci_resource_len(pdev, best))
			best = i;
	}

	return best;
}

static int p2pbuf_driver_probe(struct pci_dev *pdev,
			       const struct pci_device_id *id)
{
	struct p2pbuf_region_desc desc = {
		.pdev = pdev,
		.reserved = reserved,
		.paged = paged,
		.unrevocable = unrevocable,
	};
	struct p2pbuf_region *region;
	int which, ret;

	which = bar >= 0 ? bar : p2pbuf_driver_pick_bar(pdev);
	if (which < 0 || which >= PCI_STD_NUM_BARS ||
	    !(pci_resource_flags(pdev, which) & IORESOURCE_MEM)) {
		pci_err(pdev, "%s, name one with bar=\n", bar < 0 ?
			"no prefetchable memory BAR" : "not a memory BAR");
		return -ENODEV;
	}
	desc.bar = which;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;

	ret = pcim_request_region(pdev, desc.bar, P2PBUF_DRIVER_NAME);
	if (ret)
		return ret;

	region = p2pbuf_region_register(&desc);
	if (IS_ERR(region)) {
		pci_err(pdev, "BAR %u cannot be offered: %pe\n", desc.bar,
			region);
		return PTR_ERR(region);
	}

	pci_set_drvdata(pdev, region);
	return 0;
}

static void p2pbuf_driver_remove(struct pci_dev *pdev)
{
	p2pbuf_region_unregister(pci_get_drvdata(pdev));
}

static int p2pbuf_driver_pm_prepare(struct device *dev)
{
	return p2pbuf_region_suspend(dev_get_drvdata(dev));
}

static void p2pbuf_driver_pm_complete(struct device *dev)
{
	p2pbuf_region_resume(dev_get_drvdata(dev));
}

static const struct dev_pm_ops p2pbuf_driver_pm_ops = {
	.prepare = pm_sleep_ptr(p2pbuf_driver_pm_prepare),
	.complete = pm_sleep_ptr(p2pbuf_driver_pm_complete),
};

/* Empty, but there: new_id and driver_override want a table. */
static const struct pci_device_id p2pbuf_driver_ids[] = {
	{ }
};

static struct pci_driver p2pbuf_driver = {
	.name = P2PBUF_DRIVER_NAME,
	.id_table = p2pbuf_driver_ids,
	.probe = p2pbuf_driver_probe,
	.remove = p2pbuf_driver_remove,
	.driver.pm = pm_sleep_ptr(&p2pbuf_driver_pm_ops),
};
module_pci_driver(p2pbuf_driver);
