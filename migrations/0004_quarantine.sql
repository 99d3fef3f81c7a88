-- Code that kills its hosts stops being run.
--
-- A strike is one lost host that held attempts of this code. Strikes make a suspect, of which a host runs no
-- more than one; suspects that went on alone are quarantined, until somebody lifts it.

-- Which code a host ran from when on. An attempt ran the newest of its plugin that is not younger than its claim.
create table hostler.served (
    session bigint not null references hostler.host on delete cascade,
    plugin int not null references hostler.plugin,
    since timestamptz not null default clock_timestamp(),
    primary key (session, since, plugin)
);

-- The host was declared dead and lives: what it held then was not killed by anything that ran on it.
alter table hostler.host add column survived boolean not null default false;

create table hostler.strike (
    plugin int not null references hostler.plugin,
    session bigint not null references hostler.host on delete cascade,
    struck_at timestamptz not null default clock_timestamp(),
    primary key (plugin, session)
);

create table hostler.suspect (
    plugin int primary key references hostler.plugin,
    suspect_until timestamptz not null,
    -- Null: it is run, apart from other suspects.
    quarantined_at timestamptz,
    reason text not null
);
