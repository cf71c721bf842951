"""python -m littoral_cloud.cli: as the console script littoral-cloud."""

from littoral_cloud.cli import main

main()
