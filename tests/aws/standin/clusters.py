"""EKS clusters: moto has them, and a test says where they are."""

import datetime
import functools
import re

from moto.eks import models

# Otherwise it reads all that botocore knows of AWS's endpoints, for each cluster.
models.validate_role_arn = functools.cache(models.validate_role_arn)

OPERATIONS = [
    ("GET", r"/clusters/?", "ListClusters"),
    ("POST", r"/clusters/?", "CreateCluster"),
    ("GET", r"/clusters/([^/]+)", "DescribeCluster"),
    ("DELETE", r"/clusters/([^/]+)", "DeleteCluster"),
    ("POST", r"/clusters/([^/]+)/update-config", "UpdateClusterConfig"),
    ("GET", r"/tags/(.+)", "ListTagsForResource"),
    ("POST", r"/tags/(.+)", "TagResource"),
]


def operation(method, path):
    """What a request asks of EKS, and of which cluster."""
    for verb, pattern, name in OPERATIONS:
        match = re.fullmatch(pattern, path)
        if verb == method and match:
            return name, "".join(match.groups())
    return f"{method} {path}", ""


def define(said):
    """Makes a cluster or changes it; what is not said stays as it is."""
    backend = models.eks_backends[said["account"]][said["region"]]
    if said["name"] not in backend.clusters:
        network = {
            "subnetIds": ["subnet-1", "subnet-2"], "endpointPublicAccess": True, "endpointPrivateAccess": False,
            "publicAccessCidrs": ["0.0.0.0/0"],
        }
        backend.create_cluster(
            name=said["name"], role_arn=f"arn:aws:iam::{said['account']}:role/eks", resources_vpc_config=network
        )
    cluster = backend.clusters[said["name"]]
    for key in ("endpoint", "status", "version", "arn"):
        if said.get(key) is not None:
            setattr(cluster, key, said[key])
    if said.get("authority") is not None:
        cluster.certificate_authority = {"data": said["authority"]}
    if said.get("created") is not None:
        cluster.created_at = datetime.datetime.fromtimestamp(said["created"], datetime.timezone.utc)
    if said.get("tags") is not None:
        cluster.tags = said["tags"]
    if said.get("private") is not None:
        cluster.resources_vpc_config["endpointPublicAccess"] = not said["private"]
        cluster.resources_vpc_config["endpointPrivateAccess"] = said["private"]


def forget(said):
    """Deletes a cluster, if it is there."""
    models.eks_backends[said["account"]][said["region"]].clusters.pop(said["name"], None)
