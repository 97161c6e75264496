"""rtpengine's real daemon, if it is installed."""
def installed(): return False
