"""Two pipeline tasks to begin with: sources on the snaps of a visit, and all sources in a patch of the sky."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.table import Table, vstack
from lsst.images import Image
from lsst.pex.config import Field
from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Input, Output
from scipy import ndimage


class CountSourcesConnections(PipelineTaskConnections, dimensions=("instrument", "visit", "detector")):
    """What the task reads and writes."""

    images = Input(
        doc="Images of the visit's exposures.",
        name="raw_image",
        storageClass="ImageV2",
        dimensions=("instrument", "exposure", "detector"),
        multiple=True,
    )
    snaps = Output(
        doc="Mean of the images without their background.",
        name="visit_snaps",
        storageClass="ImageV2",
        dimensions=("instrument", "visit", "detector"),
    )
    sources = Output(
        doc="What is bright on it.",
        name="visit_sources",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit", "detector"),
    )


class CountSourcesConfig(PipelineTaskConfig, pipelineConnections=CountSourcesConnections):
    """How bright that is."""

    threshold = Field(doc="Least brightness of a source's pixels, in standard deviations.", dtype=float, default=5.0)


class CountSourcesTask(PipelineTask):
    """Add the snaps of a visit, and find what is bright on them."""

    ConfigClass = CountSourcesConfig
    _DefaultName = "countSources"
    config: CountSourcesConfig

    def run(self, images: list[Image]) -> Struct:
        """Add images of a detector, and find sources.

        Parameters
        ----------
        images : `list` [`lsst.images.Image`]
            One or more images of the same pixels.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``snaps``, an image, and ``sources``, a table with their places and fluxes.
        """
        pixels = np.mean([image.array - np.median(image.array) for image in images], axis=0, dtype=np.float32)
        noise = 1.4826 * np.median(np.abs(pixels))
        labels, n_sources = ndimage.label(pixels > self.config.threshold * noise)
        numbers = np.arange(1, n_sources + 1)
        y, x = np.reshape(ndimage.center_of_mass(pixels, labels, numbers), (n_sources, 2)).T
        first = images[0]
        columns: dict[str, Any] = {
            "x": x + first.bbox.x.min,
            "y": y + first.bbox.y.min,
            "flux": ndimage.sum_labels(pixels, labels, numbers),
        }
        if first.sky_projection is not None:
            sky = first.sky_projection.pixel_to_sky(x=columns["x"], y=columns["y"])
            columns |= {"ra": sky.ra.deg, "dec": sky.dec.deg}
        snaps = Image(pixels, bbox=first.bbox, sky_projection=first.sky_projection)
        return Struct(snaps=snaps, sources=Table(columns))


class PatchSourcesConnections(PipelineTaskConnections, dimensions=("skymap", "tract", "patch")):
    """What the task reads and writes."""

    sources = Input(
        doc="Sources of the visits that overlap the patch.",
        name="visit_sources",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
    )
    patch_sources = Output(
        doc="Those in the patch.",
        name="patch_sources",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract", "patch"),
    )


class PatchSourcesConfig(PipelineTaskConfig, pipelineConnections=PatchSourcesConnections):
    """Nothing can be set."""


class PatchSourcesTask(PipelineTask):
    """Put the sources of a patch together."""

    ConfigClass = PatchSourcesConfig
    _DefaultName = "patchSources"

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:
        """Read, run and write; the patch's region is in its data ID."""
        region = butlerQC.quantum.dataId.patch.region
        butlerQC.put(self.run(butlerQC.get(inputRefs.sources), region), outputRefs)

    def run(self, sources: list[Table], region: Any) -> Struct:
        """Put together the sources in a region.

        Parameters
        ----------
        sources : `list` [`astropy.table.Table`]
            Tables with columns ``ra`` and ``dec``, degrees.
        region : `lsst.sphgeom.Region`
            The region.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``patch_sources``, a table.
        """
        table = vstack(sources)
        inside = region.contains(np.deg2rad(table["ra"]), np.deg2rad(table["dec"]))
        return Struct(patch_sources=table[inside])
