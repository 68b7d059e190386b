"""What goes over the admin socket, as JSON. Frozen: a field may be added, never renamed or given another meaning.

Moments are RFC 3339 in UTC, sizes are bytes.
"""

from __future__ import annotations

from datetime import date, datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ddsd.contract.words import FindingKind, ProjectVerb, Role, Verdict


class _Sent(BaseModel):
    """What the daemon answers. A newer daemon may say more than an older ddsctl understands."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Asked(BaseModel):
    """What ddsctl asks. A field the daemon does not know is refused, not dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Refusal(_Sent):
    """The body of every answer that is not a success."""

    code: str
    message: str
    facts: dict[str, JsonValue] = {}


class DatabaseStatus(_Sent):
    """``revision`` is null before the first migration; ``head`` is what this daemon needs."""

    kind: str
    revision: str | None
    head: str


class StoreStatus(_Sent):
    """``problem`` says why the store, or a unit's own, does not answer; empty when all do."""

    kind: str
    answers: bool
    problem: str = ""
    units_with_their_own: int = 0


class StoreSettings(_Sent):
    """The object store as it is configured; its secret is never told. Addresses and key are empty if embedded."""

    kind: str
    endpoint: str
    public_endpoint: str
    region: str
    access_key: str
    directory: str
    wide_upload_keys: bool
    answers: bool
    problem: str


class MailStatus(_Sent):
    """``letters`` counts the outbox by state. ``sends`` is false when letters are only kept for ``mail show``.

    ``problem``: why the newest letter that was tried has not left; empty: it has.
    """

    kind: str
    sends: bool
    letters: dict[str, int]
    problem: str = ""


class QuotaStatus(_Sent):
    """A unit that is over its warning level."""

    unit: str
    quota_bytes: int
    used_bytes: int


class CertificateStatus(_Sent):
    """The certificate that the public plane shows.

    ``warning``: it must be renewed soon. ``problem``: why a newer one was not taken. Empty: nothing is wrong.
    """

    names: list[str]
    expires_at: datetime
    warning: str = ""
    problem: str = ""


class Status(_Sent):
    """How the service is. ``quotas`` are the units over their warning level.

    ``held`` counts the projects whose deadline has passed and whose data waits for letters to be delivered.
    ``certificate`` is null where the daemon itself speaks no TLS. ``maintenance``: closed for all but super admins.
    Failed ``jobs`` are those that were not tried again since. ``lost`` counts by kind what store and database
    disagreed in when they were last compared.
    """

    version: str
    facility: str
    demo: bool
    public_url: str
    certificate: CertificateStatus | None = None
    started_at: datetime
    uptime_s: int
    database: DatabaseStatus
    store: StoreStatus
    mail: MailStatus
    jobs: dict[str, int]
    units: int
    users: int
    projects: int
    quotas: list[QuotaStatus] = []
    held: int = 0
    maintenance: bool = False
    lost: dict[str, int] = {}


class CreateUnit(_Asked):
    """A unit to be made. ``internal_ref`` null: the public ID. ``quota_bytes`` 0: none.

    ``quota_enforced`` false: going over it is only warned of.
    """

    public_id: str
    name: str
    external_display_name: str
    contact_email: str
    internal_ref: str | None = None
    days_in_available: int = 90
    days_in_expired: int = 30
    quota_bytes: int = 0
    warning_level: float = 0.8
    dry_run: bool = False
    quota_enforced: bool = True


class UpdateUnit(_Asked):
    """What is to become of a unit; what is null stays. ``dry_run``: check it and tell, and change nothing."""

    name: str | None = None
    external_display_name: str | None = None
    contact_email: str | None = None
    days_in_available: int | None = None
    days_in_expired: int | None = None
    quota_bytes: int | None = None
    warning_level: float | None = None
    quota_enforced: bool | None = None
    dry_run: bool = False


class Change(_Sent):
    """A field of something, as it was and as it is now, or would be."""

    field: str
    before: str | bool | int | float
    after: str | bool | int | float


class Changed(_Sent):
    """What was changed, or would be."""

    dry_run: bool
    changes: list[Change]


class Unit(_Sent):
    """A unit. ``bytes_stored`` is what its projects have in the store.

    ``reminder_days`` are days before a deadline, ``admins`` its active admins, ``admins_ready`` those with a password;
    null where they are not told.
    """

    public_id: str
    name: str
    external_display_name: str
    contact_email: str
    internal_ref: str
    days_in_available: int
    days_in_expired: int
    quota_bytes: int
    warning_level: float
    quota_enforced: bool = True
    undo_days: int | None = None
    reminder_days: list[int] | None = None
    admins: int | None = None
    admins_ready: int | None = None
    bytes_stored: int
    users: int
    projects: int
    created_at: datetime


class CreateUser(_Asked):
    """An account to be made. ``unit`` is a public ID: required for unit roles, refused for the others."""

    username: str
    name: str
    email: str
    role: Role
    unit: str | None = None
    dry_run: bool = False


class PutEmail(_Asked):
    """The address that an account is to have."""

    email: str


class User(_Sent):
    """An account. ``has_password`` is false until its link was used."""

    username: str
    name: str
    email: str
    role: Role
    unit: str | None
    active: bool
    has_password: bool
    created_at: datetime


class NewUser(_Sent):
    """``link`` opens once, within ``link_hours``, lets its holder set the password, and cannot be asked for again.

    Of a dry run it is empty.
    """

    username: str
    link: str
    link_hours: int


class UserDetails(_Sent):
    """An account with what hangs on it.

    ``second_factor`` is ``mail`` or ``app``; ``keys`` counts the projects it can open, ``recovery_codes`` those unused.
    """

    user: User
    emails: list[str]
    second_factor: str
    passkeys: int
    recovery_codes: int
    keys: int
    password_set_at: datetime | None
    sessions: int


class DeletedUser(_Sent):
    """An account that is no more."""

    username: str
    email: str
    role: Role


class CreateInvite(_Asked):
    """Somebody to be invited. ``unit`` is a public ID: required for unit roles, refused for the others."""

    email: str
    role: Role
    unit: str | None = None
    dry_run: bool = False


class ExpireInvites(_Asked):
    """Old invites to be forgotten, or with ``dry_run`` only to be counted."""

    dry_run: bool = False


class ExpiredInvites(_Sent):
    """How many invites were forgotten, or would be."""

    count: int
    dry_run: bool


class Invite(_Sent):
    """An invite that waits; ``projects`` are the public IDs of those it will be let into one by one."""

    email: str
    role: Role
    unit: str | None
    created_at: datetime
    expires_at: datetime
    projects: list[str]


class NewInvite(_Sent):
    """An invite that was made and mailed; ``closed`` are the unit's projects it will not be able to open."""

    invite: Invite
    closed: list[str]


class Session(_Sent):
    """A living login. ``kind`` is ``api`` or ``web``; ``partial``: the second factor is still missing."""

    id: int
    username: str
    kind: str
    address: str
    agent: str
    created_at: datetime
    expires_at: datetime
    partial: bool


class Ended(_Sent):
    """How many sessions were ended."""

    sessions: int


class AuditEntry(_Sent):
    """Who did what to what, when, and what else matters."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    facts: dict[str, JsonValue]


class Maintenance(_Sent):
    """Whether the service is closed for all but super admins."""

    on: bool


class SetMaintenance(_Asked):
    """Close the service, or open it again."""

    on: bool


class AddMotd(_Asked):
    """A message of the day to be shown from now on."""

    message: str


class Motd(_Sent):
    """A message of the day; ``active``: it is shown."""

    id: int
    message: str
    created_at: datetime
    active: bool


class SendMotd(_Asked):
    """Whom to mail a message of the day to. ``dry_run``: only count them."""

    unit_only: bool = False
    dry_run: bool = False


class Mailing(_Sent):
    """A message of the day, and how many people are, or would be, mailed it: those who have not been yet."""

    id: int
    unit_only: bool
    people: int


class DueReminder(_Sent):
    """What the next run of reminders would write of a project.

    ``step`` is the number of days before the deadline that is due, ``lacking`` counts the researchers who have not
    downloaded everything, ``to_remind`` are the addresses to be written to, ``tells_unit``: the summary names it.
    """

    unit: str
    public_id: str
    deadline: datetime
    step: int
    lacking: int
    to_remind: list[str]
    tells_unit: bool


class UnitReminders(_Sent):
    """On which days before a deadline a unit's researchers are reminded; ``own`` false: as the settings say."""

    unit: str
    days: list[int]
    own: bool


class SetReminders(_Asked):
    """When a unit's researchers are reminded: such as ``14,7,1``; empty: never; null: as the settings say."""

    days: str | None


class Project(_Sent):
    """A project. Sizes are of what is stored (compressed, encrypted) and of the original files.

    ``ending`` is what is being done to it in the background, if anything. ``purge_after`` is when the data of an
    archived project that can still be restored is removed.
    """

    public_id: str
    unit: str
    title: str
    status: str
    deadline: datetime | None
    file_count: int
    bytes_stored: int
    bytes_original: int
    created_at: datetime
    ending: str = ""
    purge_after: datetime | None = None


class ChangeProject(_Asked):
    """What is to become of a project. ``days`` null: the unit's own. ``dry_run``: tell, and change nothing."""

    verb: ProjectVerb
    days: int | None = None
    send_email: bool = True
    dry_run: bool = False


class ChangedProject(_Sent):
    """A project as it is now, or would be; ``mailed``: researchers were written to."""

    project: Project
    mailed: bool
    dry_run: bool


class Due(_Sent):
    """A project that the night will take a step with, since when it is due, and what holds it back (empty: nothing)."""

    project: str
    unit: str
    status: str
    step: str
    since: datetime
    held: str


class SetUndoDays(_Asked):
    """How long a unit's projects can be restored after their deadline has archived them; 0: not at all."""

    days: int
    dry_run: bool = False


class UndoDays(_Sent):
    """A unit's undo window, in days."""

    unit: str
    days: int
    dry_run: bool


class NightRun(_Sent):
    """``started`` is false when the deadlines are being followed already. ``job``: the number of the one that does."""

    started: bool
    job: int | None = None


class ProjectUsage(_Sent):
    """What a project used, in bytes times hours, and what that costs. ``month`` null: until now.

    ``collected_at`` is null while it is not written down but added up when asked.
    """

    unit: str
    project: str
    title: str
    created_at: datetime
    month: str | None
    byte_hours: float
    cost: float
    collected_at: datetime | None


class MonthOfUsage(_Sent):
    """A month that was, or would be, written down."""

    month: str
    projects: int
    byte_hours: float
    bytes_uploaded: int


class CollectUsage(_Asked):
    """Write down the oldest month that is due. ``dry_run``: only tell which is, of those later than ``after``."""

    dry_run: bool = False
    after: str | None = None


class SendUsage(_Asked):
    """Mail the last months that are written down. ``to`` null: the service's contact."""

    months: int = 1
    to: str | None = None
    dry_run: bool = False


class Sheet(_Sent):
    """A table of a unit's usage, as CSV."""

    name: str
    csv: str


class WatchQuotas(_Asked):
    """Warn the units that have come over their level. ``dry_run``: only tell which."""

    dry_run: bool = False


class CollectStatistics(_Asked):
    """Count now. ``dry_run``: keep nothing."""

    dry_run: bool = False


class Statistics(_Sent):
    """How the service was on one day. Usage is in bytes times hours."""

    day: date
    units: int
    researchers: int
    project_owners: int
    unit_personnel: int
    unit_admins: int
    super_admins: int
    active_projects: int
    inactive_projects: int
    bytes_stored: int
    bytes_uploaded: int
    byte_hours_last_month: float
    byte_hours_total: float
    collected_at: datetime


class Mail(_Sent):
    """A letter without its text."""

    id: int
    kind: str
    recipient: str
    subject: str
    state: str
    attempts: int
    created_at: datetime
    sent_at: datetime | None
    last_error: str


class Letter(_Sent):
    """A letter with its text; ``withheld`` says why the text is not shown, and is empty when it is."""

    mail: Mail
    text: str
    withheld: str = ""


class Preview(_Sent):
    """A letter as it would be with made-up facts. Its links open nothing."""

    kind: str
    subject: str
    text: str
    html: str


class Job(_Sent):
    """Something done in the background. ``done`` of ``total`` is how far it is; ``total`` 0: it does not tell.

    ``tried_since``: the newest job that was later to do the same.
    """

    id: int
    kind: str
    subject: str
    state: str
    done: int
    total: int
    attempts: int
    run_after: datetime
    claimed_by: str
    alive_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    last_error: str
    tried_since: int | None = None


class TryAgain(_Asked):
    """Try again what failed, a step at a time, over the number ``after``; ``dry_run``: only count."""

    after: int = 0
    dry_run: bool = False


class TriedAgain(_Sent):
    """How many are tried again, or would be; ``more``: go on after ``last``."""

    count: int
    last: int = 0
    more: bool = False


class RunJob(_Asked):
    """A scheduled job to be started now."""

    kind: str


class ScheduledJob(_Sent):
    """A job that comes by the clock: ``when`` is a crontab line (UTC) or how often."""

    kind: str
    subject: str
    when: str
    at_start: bool


class Finding(_Sent):
    """One thing in which store and database disagreed when they were last compared.

    ``project`` is null for a bucket of nobody; ``key`` and ``file`` are empty where there is none.
    """

    id: int
    kind: FindingKind
    project: str | None
    bucket: str
    key: str
    file: str
    bytes_registered: int | None
    bytes_found: int | None
    found_at: datetime
    seen_at: datetime


class Compare(_Asked):
    """Compare store and database; ``project`` null: of all projects."""

    project: str | None = None


class CheckStore(_Asked):
    """Check a unit's store; ``unit`` null: the configured one."""

    unit: str | None = None


class StoreCheck(_Sent):
    """What came of one check. ``meaning``: what it means when it fails; ``remedy``: what to do then."""

    name: str
    capability: str
    verdict: Verdict
    seen: str
    meaning: str
    remedy: str
    seconds: float
    checked_at: datetime


class CleanLost(_Asked):
    """Remove what findings are about, from the one after number ``after`` on; ``project`` null: of all projects."""

    project: str | None = None
    after: int = Field(0, ge=0, le=2**31 - 1)


class Cleaned(_Sent):
    """What one step of a cleaning did; ``passed`` were none any more. ``more``: go on after ``last``."""

    removed: int
    passed: int
    stayed: int
    last: int
    more: bool


class MakeBuckets(_Asked):
    """Make the missing buckets of one project or all; with ``dry_run`` only tell which."""

    project: str | None = None
    dry_run: bool = False


class BucketsMade(_Sent):
    """The projects whose buckets were missing."""

    projects: list[str]


class BucketEmptied(_Sent):
    """How many objects one step has removed from a bucket of nobody; 0: the bucket is gone."""

    objects: int


class ImportLog(_Asked):
    """Entries of the stock client's log of failed uploads, by file name; with ``dry_run`` nothing is registered."""

    log: dict[str, JsonValue]
    dry_run: bool = False


class LogImported(_Sent):
    """Which files were registered, and why the others were not, by name."""

    added: list[str]
    refused: dict[str, str]


class Revision(_Sent):
    """Where the daemon's database is (null: never migrated), and where this daemon needs it."""

    database: str
    current: str | None
    head: str


class ProjectPerson(_Sent):
    """Somebody who has to do with a project, somebody invited, or a recovery kit (``name``: how its number begins).

    ``opens`` is ``yes`` or why not; ``mend`` is who can do what about it. What was fetched is of the present
    files; of those there were when the end was begun, if the project has ended.
    """

    name: str
    email: str
    capacity: str
    opens: str
    mend: str
    files_fetched: int
    bytes_fetched: int
    last_fetched_at: datetime | None


class StatusEntry(_Sent):
    """A status that a project has had, since when, and with which deadline."""

    status: str
    at: datetime
    deadline: datetime | None


class UnitStanding(_Sent):
    """A unit beside its quota: 0 is none; it is warned over ``level_bytes``, and refused if ``enforced``."""

    public_id: str
    name: str
    contact_email: str
    quota_bytes: int
    level_bytes: int
    used_bytes: int
    enforced: bool


class Advice(_Sent):
    """What is wrong with a project, and what to do; ``do`` empty: there is nothing to be done."""

    what: str
    do: str


class ProjectDetails(_Sent):
    """Everything that is known of a project; letters, jobs and the audit log are told newest first, and cut.

    ``undelivered`` letters hold back the removal of its data. ``over``: data and keys are gone for good.
    """

    project: Project
    unit: UnitStanding
    pi: str
    description: str
    creator: str
    bucket: str
    non_sensitive: bool
    released_at: datetime | None
    times_expired: int
    releases_left: int
    extensions_left: int
    over: bool
    people: list[ProjectPerson]
    history: list[StatusEntry]
    letters: list[Mail]
    undelivered: int
    jobs: list[Job]
    findings: list[Finding]
    audit: list[AuditEntry]
    advice: list[Advice]


class SetStoreCredentials(_Asked):
    """An account at the store for a unit. Addresses that are null stay as they are; the secrets are never told again.

    ``read_only_access_key`` and ``wide_upload_keys`` are for stores that make no keys for one bucket.
    """

    access_key: str
    secret_key: str = Field(repr=False)
    endpoint: str | None = None
    public_endpoint: str | None = None
    region: str | None = None
    iam_endpoint: str | None = None
    read_only_access_key: str = ""
    read_only_secret_key: str = Field("", repr=False)
    wide_upload_keys: bool = False
    dry_run: bool = False


class MakeStoreUser(_Asked):
    """Let an administrator of the store make the unit's user; the administrator's key is used once and not kept."""

    admin_access_key: str
    admin_secret_key: str = Field(repr=False)
    endpoint: str | None = None
    public_endpoint: str | None = None
    region: str | None = None
    dry_run: bool = False


class StoreAccountSet(_Sent):
    """The account a unit has now, or would have, and what the operator should know of it."""

    unit: str
    endpoint: str
    public_endpoint: str
    access_key: str
    warnings: list[str]
    dry_run: bool = False


class StorePolicy(_Sent):
    """The store user a unit should have, and the policy that bounds it; ``endpoint`` empty: the embedded store."""

    unit: str
    user: str
    endpoint: str
    policy: dict[str, JsonValue]


class UnitStore(_Sent):
    """A store that is used. ``unit`` is empty for the configured one; ``state`` is current or former."""

    unit: str
    state: str
    endpoint: str
    public_endpoint: str
    access_key: str
    changed_at: datetime | None
    answers: bool
    problem: str


class RotateKeys(_Asked):
    """New keys for one unit; ``unit`` null: for all. ``at_once``: let those that are out be worthless now."""

    unit: str | None = None
    at_once: bool = False
    dry_run: bool = False


class KeysRotated(_Sent):
    """What became of an account's keys; ``unit`` empty: the configured one.

    ``job`` changes the account's own secret; null: it has to be changed at the store. ``keys`` are handed out no more,
    and all are worthless at ``good_until``.
    """

    unit: str
    access_key: str
    job: int | None
    keys: int
    good_until: datetime


class MigrateStore(_Asked):
    """Move a unit's data to another store. ``account`` null: to the configured one.

    ``administrator`` instead of ``account``: a key that makes the unit's user there first, used once and not kept.
    ``back`` instead of either: to the store that it is being moved away from.
    """

    back: bool = False
    account: SetStoreCredentials | None = None
    administrator: MakeStoreUser | None = None
    dry_run: bool = False


class StoreMigration(_Sent):
    """What is moved; ``job`` does it, null in a dry run."""

    unit: str
    source: str
    target: str
    projects: int
    files: int
    bytes: int
    warnings: list[str]
    job: int | None


class ForgetStore(_Asked):
    """Remove the old copy of a unit that was moved; ``leave_data``: only forget it, nothing is removed there."""

    leave_data: bool = False
    dry_run: bool = False


class StoreForgotten(_Sent):
    """Where the old copy is; ``job`` removes it, null in a dry run, and where nothing is removed."""

    unit: str
    source: str
    job: int | None
