"""littoral-cloud logout: the commands of this user ask the coordinator on this machine again."""

from __future__ import annotations

from littoral_cloud.cli.noun import noun
from littoral_cloud.client.profile import profile_path, remove_profile
from littoral_cloud.terminal.output import Format, FormatOption, emit

app = noun("Forget the coordinator that login named.")


@app.command(epilog="Example: littoral-cloud logout")
def logout(format: FormatOption = Format.TABLE) -> None:
    """Remove your profile. Its token stays valid until it ends: see operator revoke."""
    was = remove_profile()
    path = profile_path()
    words = f"removed {path}; the token in it is valid until it ends or is revoked" if was else f"there is no profile at {path}"
    emit({"profile": str(path), "removed": was} if format == Format.JSON else words, format)
