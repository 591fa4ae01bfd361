"""A small XBlock runtime: it renders one block for an anonymous learner and keeps its fields in memory."""

from django.templatetags.static import static
from django.utils import translation
from web_fragments.fragment import Fragment
from xblock.fields import ScopeIds
from xblock.runtime import DictKeyValueStore, KvsFieldData, MemoryIdManager, Runtime


class I18nService:
    """Django's translations, for blocks that ask for the `i18n` service."""

    gettext = staticmethod(translation.gettext)
    ngettext = staticmethod(translation.ngettext)

    @staticmethod
    def ugettext(text):
        """The old name of `gettext`, which older blocks still call."""
        return translation.gettext(text)


class CampusRuntime(Runtime):
    """Gives blocks their fields, URLs and services."""

    anonymous_student_id = "learner"
    course_id = "course-v1:Campus+Demo+2026"
    user_is_staff = False

    def __init__(self):
        ids = MemoryIdManager()
        super().__init__(
            id_reader=ids,
            id_generator=ids,
            field_data=KvsFieldData(DictKeyValueStore()),
            services={"i18n": I18nService()},
        )

    def build(self, block_type):
        """Make a block with its default fields. `xblock.core.PluginMissingError` when it is not installed."""
        definition = self.id_generator.create_definition(block_type)
        usage = self.id_generator.create_usage(definition)
        return self.construct_xblock(block_type, ScopeIds("learner", block_type, definition, usage))

    def render_page(self, block_type):
        """The block's learner view as a fragment: HTML, CSS and scripts."""
        return self.build(block_type).render("student_view")

    def wrap_xblock(self, block, view, frag, context):
        """Put the block into an element that names it, with what the fragment needs."""
        wrapped = Fragment(f'<div class="xblock" data-block-type="{block.scope_ids.block_type}">{frag.content}</div>')
        wrapped.add_fragment_resources(frag)
        return wrapped

    def handler_url(self, block, handler_name, suffix="", query="", thirdparty=False):
        """Where a block's handler would answer."""
        return f"/xblock/{block.scope_ids.block_type}/handler/{handler_name}/{suffix}"

    def local_resource_url(self, block, uri):
        """A file of the block's package, as collected among the static files."""
        return static(f"xblock/{block.scope_ids.block_type}/{uri}")

    def resource_url(self, resource):
        """A file of the platform."""
        return static(resource)

    def publish(self, block, event_type, event_data):
        """There is no grade book here to tell."""
