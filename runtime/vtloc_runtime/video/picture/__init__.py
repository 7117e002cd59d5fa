"""From a decoded picture to a frame: orientation, crop, scaling, tone mapping."""
