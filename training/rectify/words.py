"""Words of what is seen from above: through these, prompts that no list names get their share."""

VOCABULARY = (
    "airplane", "airport", "asphalt", "baseball diamond", "basketball court", "beach", "bicycle",
    "boat", "bridge", "building", "bus", "bush", "car", "church", "concrete", "container", "crane",
    "crop field", "dirt road", "dog", "excavator", "factory", "farmland", "fence", "field", "fire",
    "flooded street", "footpath", "forest", "garden", "grass", "gravel", "greenhouse", "harbour",
    "hedge", "horse", "house", "lake", "lawn", "meadow", "motorcycle", "mud", "palm tree",
    "parking lot", "pavement", "person", "pier", "playground", "pond", "power line", "railway",
    "river", "road", "rocks", "roof", "rubble", "runway", "sand", "sea", "shadow", "ship", "smoke",
    "snow", "soil", "solar panel", "sports field", "stadium", "storage tank", "swimming pool",
    "tennis court", "tent", "train", "tree", "truck", "vehicle", "vegetation", "wall", "waste",
    "water", "wind turbine",
)  # fmt: skip
