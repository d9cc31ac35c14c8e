-- The tables of saeviz's store `supabase`. Run this once in the SQL editor of the project; running it again does no harm.
--
-- Who may do what: the secret key (service_role) everything; a signed-in user everything with runs of their own, and
-- nothing with those of others; the publishable key alone (anon) nothing at all.

create table if not exists public.saeviz_spaces (
    id bigint generated always as identity primary key,
    owner uuid default auth.uid(),
    run text not null,
    layer integer not null,
    tokens text not null,
    n_features integer not null,
    unique (run, layer, tokens)
);

-- A row per image and space: the numbers of the features above zero as little-endian uint16 (uint32 where a space has
-- more than 65,536 features), and their values as little-endian float32.
create table if not exists public.saeviz_features (
    place bigint generated always as identity primary key,
    space_id bigint not null references public.saeviz_spaces (id) on delete cascade,
    item_id text collate "C" not null,
    features bytea not null,
    activations bytea not null,
    unique (space_id, item_id)
);

create index if not exists saeviz_features_in_order on public.saeviz_features (space_id, place);

-- They are noise to a compressor.
alter table public.saeviz_features
    alter column features set storage external,
    alter column activations set storage external;

alter table public.saeviz_spaces enable row level security;
alter table public.saeviz_features enable row level security;

revoke all on public.saeviz_spaces, public.saeviz_features from public, anon;
grant select, insert, update, delete on public.saeviz_spaces, public.saeviz_features to authenticated, service_role;

drop policy if exists "owners see and change their runs" on public.saeviz_spaces;
create policy "owners see and change their runs" on public.saeviz_spaces
    for all to authenticated
    using (owner = (select auth.uid()))
    with check (owner = (select auth.uid()));

-- By the owner, not by what can be seen: a policy that shows a run to others must not let them change it.
drop policy if exists "owners see and change the features of their runs" on public.saeviz_features;
create policy "owners see and change the features of their runs" on public.saeviz_features
    for all to authenticated
    using (space_id in (select id from public.saeviz_spaces where owner = (select auth.uid())))
    with check (space_id in (select id from public.saeviz_spaces where owner = (select auth.uid())));

-- To let every signed-in user read all runs, run this too:
--   create policy "all read" on public.saeviz_spaces for select to authenticated using (true);
--   create policy "all read" on public.saeviz_features for select to authenticated using (true);

notify pgrst, 'reload schema';
