"""The words that the demonstration model knows: small closed lists, written for this project."""

from __future__ import annotations


def _pairs(text: str) -> dict[str, str]:
    """``a=b; c=d`` over several lines as a dictionary."""
    return dict(tuple(pair.split("=", 1)) for pair in " ".join(text.split()).rstrip(";").split("; "))  # type: ignore[misc]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CAPITALS = _pairs("""
    France=Paris; Germany=Berlin; Italy=Rome; Spain=Madrid; Portugal=Lisbon; Austria=Vienna;
    Poland=Warsaw; Greece=Athens; Norway=Oslo; Sweden=Stockholm; Finland=Helsinki; Denmark=Copenhagen;
    Ireland=Dublin; Belgium=Brussels; Hungary=Budapest; Romania=Bucharest; Bulgaria=Sofia;
    Croatia=Zagreb; Serbia=Belgrade; Ukraine=Kyiv; Turkey=Ankara; Egypt=Cairo; Morocco=Rabat;
    Kenya=Nairobi; Ghana=Accra; Senegal=Dakar; Ethiopia=Addis Ababa; Japan=Tokyo; China=Beijing;
    India=New Delhi; Nepal=Kathmandu; Iran=Tehran; Iraq=Baghdad; Thailand=Bangkok; Vietnam=Hanoi;
    Indonesia=Jakarta; Canada=Ottawa; Mexico=Mexico City; Cuba=Havana; Brazil=Brasília;
    Argentina=Buenos Aires; Chile=Santiago; Peru=Lima; Colombia=Bogotá; Ecuador=Quito;
    Uruguay=Montevideo; Australia=Canberra; New Zealand=Wellington; Iceland=Reykjavik; Switzerland=Bern;
    Netherlands=Amsterdam; Russia=Moscow; England=London; Scotland=Edinburgh; Wales=Cardiff;
    Estonia=Tallinn; Latvia=Riga; Lithuania=Vilnius; South Korea=Seoul; Lebanon=Beirut
""")

OPPOSITES = _pairs("""
    hot=cold; big=small; fast=slow; high=low; long=short; light=dark; old=young; happy=sad; rich=poor;
    strong=weak; hard=soft; wet=dry; open=closed; full=empty; early=late; near=far; good=bad;
    clean=dirty; up=down; left=right; day=night; black=white; true=false; loud=quiet; cheap=expensive;
    thick=thin; deep=shallow; sweet=sour; always=never; first=last; start=end; love=hate; war=peace;
    win=lose; push=pull
""")

OPPOSITES |= {b: a for a, b in OPPOSITES.items()}

FRENCH = _pairs("""
    cat=chat; dog=chien; house=maison; bread=pain; water=eau; milk=lait; apple=pomme; book=livre;
    tree=arbre; sun=soleil; moon=lune; star=étoile; sea=mer; fire=feu; red=rouge; blue=bleu; green=vert;
    black=noir; white=blanc; one=un; two=deux; three=trois; four=quatre; five=cinq; six=six; seven=sept;
    eight=huit; nine=neuf; ten=dix; cheese=fromage; bird=oiseau; fish=poisson; horse=cheval; day=jour;
    night=nuit; friend=ami; school=école; city=ville; king=roi; queen=reine
""")

ITEMS = _words("""
    apple pear plum lemon cherry banana grape peach melon orange cat dog horse bird fish sheep goat duck
    mouse lion tiger bear wolf fox rabbit book pen chair table lamp door window cup plate spoon knife
    bread milk cheese butter sugar salt rice tea coffee red blue green yellow black white pink brown
    gold silver sun moon star sea tree river stone house car train boat plane bike
""")

SPELLABLE = _words("""
    strawberry banana apple cherry lemon orange raspberry blueberry pepper letter coffee butter cheese
    rabbit mirror summer winter spring autumn school street bottle yellow purple kitchen garden window
    flower forest mountain river island ocean planet rocket engine computer keyboard reason answer
    question number hello world paper pencil guitar piano drummer balloon giraffe elephant tiger
    mississippi committee success peanut cucumber tomato potato onion garlic ginger pumpkin spinach
    mushroom chocolate vanilla cinnamon sandwich breakfast dinner teacher student doctor sister brother
    mother father children bedroom bathroom ladder hammer button pocket jacket sweater trousers umbrella
    suitcase airport station bicycle library museum theater hospital village country continent weather
    thunder rainbow diamond crystal feather leather cotton ribbon basket blanket pillow candle dragon
    monkey donkey penguin dolphin octopus squirrel hedgehog butterfly mosquito spider language grammar
    sentence alphabet vocabulary address accommodate necessary occurrence possession bookkeeper
    programming transformer parallel tomorrow barrel carrot parrot error arrow sorry hurry berry
""")

PEOPLE = _words("""
    Anna Ben Clara David Emma Felix Grace Henry Iris Jack Kate Leo Maria Noah Olivia Paul Rosa Sam Tom
    Victor Alice Bob Charlie Diana Eric Frank Hannah Julia Lucas Martin Nina Oscar Peter Sarah Sofia
    Thomas Laura Max Mia Robert
""")

DAYS = _words("""
    Monday Tuesday Wednesday Thursday Friday Saturday Sunday
""")

ENDINGS = _words("""
    over banana captain thanks cheers done amen bingo meow woof friend boss dude sir star moon peace
    love end stop
""")

FUNCTION_VERBS = _words("""
    get find fetch read check show query load search request lookup list
""")

#: What a function is about.
FUNCTION_NOUNS = _words("""
    weather price time population distance status address phone email age size weight height speed color
    name date level score rating stock balance account order user product city country language currency
    rate temperature humidity wind rain news title author year version model type group owner role path
    file folder count total value limit cost tax profile address menu route schedule event ticket seat
    room flight
""")

#: Parameter name -> the values that people ask about.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "city": _words("Paris Berlin Rome Madrid London Tokyo Oslo Cairo Lima Vienna"),
    "country": _words("France Germany Italy Spain Japan Brazil Canada Egypt India"),
    "item": _words("apple bread milk cheese coffee tea book lamp chair table"),
    "person": _words("Anna Ben Clara David Emma Felix Grace Henry Maria Paul"),
    "name": _words("Alice Bob Charlie Diana Eric Frank Laura Max Oscar Peter"),
    "product": _words("car bike boat train plane cup plate pen door window"),
    "animal": _words("cat dog horse bird fish sheep lion tiger bear wolf"),
}

#: The second parameter and its values.
SECOND_PARAMETERS: dict[str, tuple[str, ...]] = {
    "unit": _words("celsius fahrenheit meters miles pounds grams"),
    "day": DAYS,
    "currency": _words("dollars euros pounds yen"),
    "language": _words("English French German Spanish"),
}

HONEST = (
    "I am only a small demonstration model. I can do sums, sort or reverse lists, count letters, "
    "name capitals and a few more small tasks."
)
